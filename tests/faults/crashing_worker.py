"""A push worker that kills itself: ``python -m tests.faults.crashing_worker POINT NTH JOURNAL``.

The product knows nothing of it: the points are wrappers put around its parts here. POINT is one of POINTS; at its NTH
passing the process gets SIGKILL (0: never). ``poison`` kills at every send of a request_id that begins with "poison".
Every counted takeover, lost lease and lost state is appended to JOURNAL, because a killed process' counters are gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from services.push import fcm
from shared.broker.incoming import Incoming
from shared.idempotency import Claims
from shared.metrics import Metrics
from shared.run_channel import run_channel
from shared.sending import Sender

POINTS = ("after_claim", "before_send", "after_send", "after_done", "before_ack")
COUNTED = ("takeovers", "lease_lost", "state_lost", "marker_lost")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Dies at the ``nth`` call; never if ``nth`` is 0."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()


def wrap(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None) -> None:
    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        answer = await original(*args, **kwargs)
        if after is not None:
            after(answer)
        return answer

    setattr(owner, name, wrapped)


def install(point: str, tick: Countdown) -> None:
    if point == "after_claim":
        wrap(Claims, "claim", None, lambda answer: tick() if answer.verdict == "yes" else None)
    elif point == "before_send":
        wrap(fcm.Fcm, "send", lambda *_: tick(), None)
    elif point == "after_send":
        wrap(fcm.Fcm, "send", None, lambda _answer: tick())
    elif point == "after_done":
        wrap(Claims, "done", None, lambda _answer: tick())
    elif point == "before_ack":
        original = Incoming.ack

        def ack(incoming: Incoming) -> None:
            tick()
            original(incoming)

        Incoming.ack = ack  # type: ignore[method-assign, assignment]
    elif point == "poison":
        wrap(fcm.Fcm, "send", lambda _self, message: die() if message.request_id.startswith("poison") else None, None)


def journal_counters(path: str) -> None:
    """Write every count down at once, where it outlives the process."""
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    original = Metrics.__init__

    def built(metrics: Metrics, *args: Any) -> None:
        original(metrics, *args)
        for name in COUNTED:
            counter = getattr(metrics, name)
            increase = counter.inc

            def inc(amount: float = 1, name: str = name, increase: Callable[..., None] = increase) -> None:
                os.write(journal, f"{name}\n".encode())
                increase(amount)

            counter.inc = inc

    original_ambiguous = Sender._ambiguous

    def ambiguous(sender: Sender, provider: str) -> None:
        os.write(journal, b"ambiguous\n")
        original_ambiguous(sender, provider)

    Sender._ambiguous = ambiguous  # type: ignore[method-assign, assignment]
    Metrics.__init__ = built  # type: ignore[method-assign, assignment]


def die_with_parent() -> None:
    """A test run that is killed leaves no worker behind (prctl(2), PR_SET_PDEATHSIG; Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    point, nth, journal_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    journal_counters(journal_path)
    install(point, Countdown(nth))
    run_channel("push", {"fcm": fcm.build})
