"""Decides whether and when a device comes back after its connection has ended."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Literal

#: What a device does: it comes back after a random wait; after the time that the server named; after 10 s or more;
#: with a fresh token; or it stays away.
Answer = Literal["resume", "told", "slowly", "token", "stay"]

CLOSE_CODES: Mapping[int, Answer] = {
    1000: "stay",
    1002: "stay",
    1003: "stay",
    1006: "resume",
    1007: "stay",
    1009: "stay",
    1011: "resume",
    1012: "told",
    1013: "told",
    4401: "token",
    4413: "resume",
    4429: "slowly",
    4500: "stay",
    4501: "stay",
    4503: "stay",
    4504: "stay",
    # A page waits for its user here. Nobody looks at a program, and by itself it would evict the next device.
    4505: "stay",
    4506: "stay",
}

#: Longest first wait, first and longest of the waits that follow, seconds.
FIRST_S, BASE_S, CAP_S = 1.0, 0.5, 30.0
#: A connection that was up for this long makes the next wait a first one again.
STABLE_S = 60.0
#: Least wait after the server said that this device sends too much.
SLOWLY_S = 10.0


def after_close(code: int) -> Answer:
    """Returns what the device does after this code. Of the unknown ones, 4500 to 4999 stay away."""
    return CLOSE_CODES.get(code, "stay" if 4500 <= code <= 4999 else "resume")


class Backoff:
    """Draws the waits before the next connection: fully random, never 0, longer with each failure."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._attempt = 0

    def next_s(self) -> float:
        """Returns the next wait, seconds."""
        longest = FIRST_S if self._attempt == 0 else min(CAP_S, BASE_S * 2**self._attempt)
        self._attempt += 1
        return longest * (1 - self._draw())

    def was_up(self, seconds: float) -> None:
        """Notes for how long the connection was up that has ended."""
        if seconds >= STABLE_S:
            self._attempt = 0
