"""Handles signals that ask the command to stop: they act once, and not while the command is cleaning up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_requested() -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into one KeyboardInterrupt. Later ones must not interrupt the stop."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise KeyboardInterrupt

    before = [signal.signal(signum, ask) for signum in STOP_SIGNALS]
    try:
        yield
    finally:
        for signum, handler in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(signum, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delays these signals until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
