"""Reads breaker changes and retries from the workers' log lines, while they run or afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tests.faults.harness.member import Member
from tests.faults.load.envelopes import Parcel
from tests.support.waiting import eventually_async


@dataclass(frozen=True, slots=True)
class Change:
    """Records that a breaker moved to ``new`` (closed, half_open or open). ``at`` is Unix time."""

    provider: str
    new: str
    why: str
    at: float


def events(workers: Iterable[Member], name: str) -> Iterator[dict[str, Any]]:
    """Yields the lines of this event, worker by worker; ``at`` is Unix time."""
    mark = f'"event":"{name}"'.encode()
    for worker in workers:
        for line in worker.log.read_bytes().splitlines() if worker.log.exists() else []:
            if mark in line:
                event = orjson.loads(line)
                yield event | {"at": datetime.fromisoformat(event["at"]).timestamp()}


def breaker_changes(workers: Iterable[Member], provider: str, new: str = "") -> list[Change]:
    """Returns every move of this provider's breakers, or only those to ``new``, worker by worker."""
    said = events(workers, "breaker_changed")
    changes = [Change(event["provider"], event["new"], event["why"], event["at"]) for event in said]
    return [change for change in changes if change.provider == provider and new in ("", change.new)]


async def opened(workers: Iterable[Member], provider: str, deadline_s: float = 10.0) -> Change:
    """Waits until a breaker of this provider has opened. Returns the first time that one did."""
    workers = list(workers)
    return (await eventually_async(lambda: breaker_changes(workers, provider, "open"), deadline_s))[0]


def delivered_of(log: Path, parcels: Iterable[Parcel]) -> int:
    """Returns how many of these parcels the worker with this log has delivered so far."""
    lines = [line for line in log.read_bytes().splitlines() if b'"event":"delivered"' in line]
    return len({parcel.request_id for parcel in parcels} & {orjson.loads(line)["request_id"] for line in lines})


def returned_after_s(log: Path, parcels: Iterable[Parcel]) -> list[float] | None:
    """Returns the seconds from acceptance to the provider's acceptance for parcels delivered at the second attempt, or
    None until all were.
    """
    wanted = {parcel.request_id for parcel in parcels}
    took_s: list[float] = []
    for line in log.read_bytes().splitlines():
        if b'"event":"delivered"' not in line:
            continue
        said = orjson.loads(line)
        if said["request_id"] in wanted:
            wanted.discard(said["request_id"])
            if said["attempt"] == 1:
                took_s.append(said["seconds"])
    return None if wanted else took_s
