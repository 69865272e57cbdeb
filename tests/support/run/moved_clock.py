"""Moves clocks: the product's clock to a time that a test chooses, or those of a whole run (``--days``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def time_ns_from(at_ms: int) -> Callable[[], int]:
    """Returns a replacement for ``time.time_ns`` that shows ``at_ms`` (since the epoch) now and runs on from there.

    The product reads its clock (``shared.clock``) from there.
    """
    real_ns = time.time_ns
    ahead_ns = at_ms * 1_000_000 - real_ns()
    return lambda: real_ns() + ahead_ns


def clock_variables() -> dict[str, str]:
    """Returns the environment variables that give another process this one's clock; {} if the clock is not moved."""
    return {name: os.environ[name] for name in ("LD_PRELOAD",) if name in os.environ}


def ignore_redis_time() -> None:
    """Lets lives end by this process's own clock, so that a clock moved by ``time_ns_from`` decides.

    Only for tests that need another date than that of their Redis server.
    """
    from shared.idempotency.redis_clock import RedisClock

    RedisClock.heard = lambda *_: None  # type: ignore[method-assign]
