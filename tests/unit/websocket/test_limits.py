"""Compares the limits that docs/realtime.md and docs/operating.md promise with those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.websocket import desk, hub, parts, reads
from services.websocket.transport import allowance, native, poll, reading, socket, sse
from shared.realtime import presence, tickets, tokens
from shared.store import values

ROOT = Path(__file__).parents[3]
REALTIME = " ".join((ROOT / "docs" / "realtime.md").read_text().split())
NUMBER = {3: "three"}


@pytest.mark.parametrize(
    "promise",
    [
        f"in frames of at most {native.PAGE_ROWS} rows or {native.PAGE_BYTES // 1024} KiB",
        f"the newest {values.PULL_ROWS:_} unread notifications".replace("_", " "),
        f"A message has at most {reading.MOST_BYTES // 1024} KiB",
        f"more than {allowance.FRAMES_PER_S:g} frames a second, after a burst of {allowance.BURST:g}",
        f"{NUMBER[allowance.STRIKES].title()} within {allowance.STRIKES_S:g} seconds end the connection with 4429",
        f"has {parts.FULL_BYTES // 1024} KiB unsent and takes no byte for {parts.STALLED_S:g} s",
        f"has more than {parts.MOST_UNSENT_BYTES // 2**20} MiB unsent",
        f"At most {reads.PULLS_AT_ONCE * reads.READS_AT_ONCE} devices are read at a time",
        f"{hub.MOST_WAITING:_} wait".replace("_", " "),
        f"`ids`, at most {desk.MOST_IDS}",
        f"It has {parts.AUTH_S:g} seconds",
        f"&wait={poll.MOST_WAIT_S:g}",
        "after a code with which a device stays away it is an hour",
    ],
)
def test_the_page_and_the_code_have_the_same_limits(promise: str) -> None:
    assert promise in REALTIME


def test_the_limits_without_a_sentence() -> None:
    assert (parts.HEAD_S, parts.HEAD_BYTES, parts.AUTH_S, parts.EXPIRING_S) == (5.0, 8192, 5.0, 60.0)
    assert parts.MOST_FAULTS == 3
    assert socket._CALM_MS[0] == 10_000
    assert reads.AFTER_MS == (5_000, 15_000)
    assert (sse.RETRY_MS, sse.STAYS_AWAY_MS) == ((1_000, 5_000), 3_600_000)
    assert (presence.LIFE_S, presence.RENEWED_EVERY_S, presence.NODE_LIFE_S, presence.BEAT_S) == (3600, 1200, 30, 10)
    assert (tokens.LIFE_S, tokens.MOST_LIFE_S, tokens.LEEWAY_S, tickets.LIFE_S) == (900, 86_400, 10, 30)
    assert hub.COMPARED_AT_ONCE == hub.WRITES_AT_ONCE == 500
