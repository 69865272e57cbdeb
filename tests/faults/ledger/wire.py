"""Reads the golden messages and records under ``tests/fixtures/wire``: one folder per version, named after the version.

For the scenario "wire compatibility": send ``commands`` to Redis, publish ``messages`` onto their lanes, start today's
workers with their clock at ``read_at_ms``, and each request_id must come to its ``end``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE, FAILED_EXCHANGE
from shared.clock import parse_rfc3339
from shared.message.channels import Lane, lane_by_routing_key
from shared.message.headers import DeliveryState

FOLDER = Path(__file__).parents[2] / "fixtures/wire"
#: The messages of a version are read this long after it accepted the last of them: no message that was alive then has
#: expired yet.
READ_AFTER_MS = 3_600_000

#: ends of a golden message; the third form is ``failed: <reason>``
DELIVERED, DROPPED, FAILED = "delivered", "dropped", "failed: "


@dataclass(frozen=True, slots=True)
class GoldenMessage:
    """Holds one message as its version left it on a lane."""

    id: str
    lane: Lane
    body: bytes
    headers: dict[str, Any]
    #: what today's code must read in its headers
    state: DeliveryState
    #: Redis commands that store its records before the message arrives
    commands: tuple[tuple[str, ...], ...]
    #: DELIVERED once, DROPPED as a copy of a settled message, or FAILED with the reason in failed.queue
    end: str
    #: the push tokens that must be sent to; empty: all that the body names
    targets: tuple[str, ...]

    @property
    def publication(self) -> Publication:
        return Publication(EXCHANGE, self.lane.routing_key, self.body, self.headers, self.id)

    @property
    def due(self) -> tuple[str, ...]:
        """Returns the targets that must be sent to, once each; () unless its end is DELIVERED."""
        if self.end != DELIVERED:
            return ()
        if self.targets:
            return self.targets
        (addresses,) = json.loads(self.body)["recipient"].values()
        return tuple(addresses) if isinstance(addresses, list) else (addresses,)

    @property
    def reason(self) -> str:
        """Returns the reason for which it must come to failed.queue; "" if it must not."""
        return self.end.removeprefix(FAILED) if self.end.startswith(FAILED) else ""


@dataclass(frozen=True, slots=True)
class GoldenFailure:
    """Holds one message as its version, or the broker, left it in failed.queue."""

    id: str
    publication: Publication
    #: the line that a listing shows
    listed: dict[str, Any]
    #: ``sent``, or the reason why a replay skips it
    replay: str


def versions() -> list[str]:
    """Returns all versions, oldest first."""
    return sorted((folder.name for folder in FOLDER.iterdir() if folder.is_dir()), key=int)


def golden(version: str, name: str) -> Any:
    """Returns one of the version's files (``claims``, ``gateway``, ``workers``), unchanged."""
    return json.loads((FOLDER / version / f"{name}.json").read_text(encoding="utf-8"))


def messages(version: str) -> list[GoldenMessage]:
    """Returns the messages on the lanes."""
    return [_message(each) for each in golden(version, "messages")]


def read_at_ms(version: str) -> int:
    """Returns the time that the clock of a reader of the version's messages must show, milliseconds since the epoch.

    Their ends are true at this time only: the life of a message depends on the date.
    """
    accepted = [parse_rfc3339(message.state.accepted_at) for message in messages(version)]
    return max(at_ms for at_ms in accepted if at_ms is not None) + READ_AFTER_MS


def commands(version: str) -> list[tuple[str, ...]]:
    """Returns the commands that fill Redis before the messages arrive: one list entry per command, its name first."""
    return [command for message in messages(version) for command in message.commands]


def failures(version: str) -> list[GoldenFailure]:
    """Returns the messages in failed.queue."""
    return [
        GoldenFailure(
            each["id"],
            Publication(
                FAILED_EXCHANGE, each["routing_key"], each["body"].encode(), amqp_headers(each["headers"]), each["id"]
            ),
            each["listed"],
            each["replay"],
        )
        for each in golden(version, "failed")
    ]


def amqp_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the headers as AMQP delivers them: ``{"timestamp": ...}`` becomes a time."""
    return {name: _amqp(value) for name, value in headers.items()}


def _message(each: Mapping[str, Any]) -> GoldenMessage:
    lane = lane_by_routing_key(each["lane"])
    if lane is None:
        raise ValueError(f"{each['id']}: {each['lane']} is not a lane any more")
    return GoldenMessage(
        each["id"],
        lane,
        each["body"].encode(),
        amqp_headers(each["headers"]),
        DeliveryState(**each["travel"]),
        tuple(tuple(command) for command in each["records"]),
        each["end"],
        tuple(each.get("targets", ())),
    )


def _amqp(value: Any) -> Any:
    if isinstance(value, list):
        return [_amqp(item) for item in value]
    if isinstance(value, dict):
        return datetime.fromisoformat(value["timestamp"]) if value.keys() == {"timestamp"} else amqp_headers(value)
    return value
