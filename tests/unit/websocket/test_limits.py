"""Checks the limits that no document names; tests/unit/repository/test_realtime_rules compares the others."""

from __future__ import annotations

from services.websocket import hub, parts, reads
from services.websocket.transport import socket, sse
from shared.realtime import presence, tickets, tokens


def test_the_limits_without_a_sentence() -> None:
    assert (parts.HEAD_S, parts.HEAD_BYTES, parts.AUTH_S, parts.EXPIRING_S) == (5.0, 8192, 5.0, 60.0)
    assert parts.MOST_FAULTS == 3
    assert socket._CALM_MS[0] == 10_000
    assert reads.AFTER_MS == (5_000, 15_000)
    assert (sse.RETRY_MS, sse.STAYS_AWAY_MS) == ((1_000, 5_000), 3_600_000)
    assert (presence.LIFE_S, presence.RENEWED_EVERY_S, presence.NODE_LIFE_S, presence.BEAT_S) == (3600, 1200, 30, 10)
    assert (tokens.LIFE_S, tokens.MOST_LIFE_S, tokens.LEEWAY_S, tickets.LIFE_S) == (900, 86_400, 10, 30)
    assert hub.COMPARED_AT_ONCE == hub.WRITES_AT_ONCE == 500
