"""The product's clock at a time that a test chooses: ``shared.clock`` reads it from ``time.time_ns``."""

from __future__ import annotations

import time
from collections.abc import Callable


def time_ns_from(at_ms: int) -> Callable[[], int]:
    """Returns what takes the place of ``time.time_ns``: it shows ``at_ms`` (since the epoch) now, and goes on."""
    real_ns = time.time_ns
    ahead_ns = at_ms * 1_000_000 - real_ns()
    return lambda: real_ns() + ahead_ns
