"""Python's cycle collector, told how our processes live."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Look for cycles less often: a message leaves none, and what was imported need not be walked ever again.

    Call it once a process, when everything is imported and open.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
