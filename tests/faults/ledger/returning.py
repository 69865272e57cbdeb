"""How long retried messages took, as the worker's own log has it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from tests.faults.load.envelopes import Parcel


def returned_after_s(log: Path, parcels: Iterable[Parcel]) -> list[float] | None:
    """From acceptance to the provider's yes, of those that were delivered at the second try; None until all were."""
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
