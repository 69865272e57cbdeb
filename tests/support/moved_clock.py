"""Clocks that are moved: the product's to a time that a test chooses, or those of a whole run (``--days``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def time_ns_from(at_ms: int) -> Callable[[], int]:
    """Returns what takes the place of ``time.time_ns``: it shows ``at_ms`` (since the epoch) now, and goes on.

    The product reads its clock (``shared.clock``) from there.
    """
    real_ns = time.time_ns
    ahead_ns = at_ms * 1_000_000 - real_ns()
    return lambda: real_ns() + ahead_ns


def clock_variables() -> dict[str, str]:
    """Returns what a process needs of this one's environment to have the same clock; {} if the clock is not moved."""
    return {name: os.environ[name] for name in ("LD_PRELOAD",) if name in os.environ}
