"""Bounds the cost of one rendering: its steps, and the CPU time of a rendering whose steps are slow.

A step is one turn of a loop or one filter. Steps decide first, so that a template fails on every machine or on none.
The CPU time stops a template that does much work in each turn. It is the thread's own time, so a busy machine makes no
template fail.
"""

from __future__ import annotations

import threading
import time

from jinja2 import TemplateRuntimeError

#: Largest number of turns of loops and filters in one rendering.
MAX_STEPS = 10_000
#: Longest CPU time of one rendering, seconds: nothing else runs on the event loop meanwhile.
MAX_CPU_S = 0.1
# An ordinary template ends before this number of steps, so it does not spend time on reading the clock.
_FREE_STEPS = 32


class Meter(threading.local):
    """Measures the one rendering that runs in each thread; there is only one, as a rendering never awaits."""

    def __init__(self) -> None:
        self._steps = 0
        self._until_s: float | None = None

    def start(self) -> None:
        """Starts to measure a new rendering."""
        self._steps = 0
        self._until_s = None

    def step(self) -> None:
        """Counts a step. Raises TemplateRuntimeError once the rendering has cost too much."""
        self._steps += 1
        if self._steps <= _FREE_STEPS:
            return
        if self._steps > MAX_STEPS:
            raise TemplateRuntimeError(f"more than {MAX_STEPS} turns of loops and filters")
        now_s = time.thread_time()
        if self._until_s is None:
            self._until_s = now_s + MAX_CPU_S
        elif now_s > self._until_s:
            raise TemplateRuntimeError(f"takes more than {MAX_CPU_S:g} s")


METER = Meter()
