"""When somebody asks us to stop: once, and not in the middle of putting things back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_requested() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into one KeyboardInterrupt; later ones must not cut the stop short."""
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
    """Those signals wait until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
