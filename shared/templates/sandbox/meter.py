"""Bounds the cost of one rendering: its steps, what it creates, and the CPU time of a rendering whose steps are slow.

A step is one turn of a loop, one filter or one method. Steps and sizes decide first, so that a template fails on every
machine or on none. The CPU time stops a template that does much work in each turn. It is the thread's own time, so a
busy machine makes no template fail.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from jinja2 import TemplateRuntimeError

#: Largest number of turns of loops, filters and methods in one rendering.
MAX_STEPS = 10_000
#: Most bytes of texts and lists that one rendering creates, about: each could be kept until its end.
MAX_CREATED = 4 * 1024 * 1024
#: What an item of a list counts for, bytes: its place in the list, and the object (a short text takes 50).
_ITEM_BYTES = 64
#: Longest CPU time of one rendering, seconds: nothing else runs on the event loop meanwhile.
MAX_CPU_S = 0.1
# An ordinary template ends before this number of operations, so it does not spend time on reading the clock.
_FREE_OPERATIONS = 32


class Meter(threading.local):
    """Measures the one rendering that runs in each thread; there is only one, as a rendering never awaits."""

    def __init__(self) -> None:
        self._steps = self._operations = self._created = 0
        self._until_s: float | None = None

    def start(self) -> None:
        """Starts to measure a new rendering."""
        self._steps = self._operations = self._created = 0
        self._until_s = None

    def step(self) -> None:
        """Counts a step. Raises TemplateRuntimeError once the rendering has cost too much."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateRuntimeError(f"more than {MAX_STEPS} turns of loops and filters")
        self.operation()

    def created(self, value: Any) -> None:
        """Counts the size of a text or a list that was just made. Raises TemplateRuntimeError."""
        if isinstance(value, str):
            self._created += len(value)
        elif isinstance(value, (list, tuple)):
            self._created += _ITEM_BYTES * len(value)
        if self._created > MAX_CREATED:
            raise TemplateRuntimeError(f"creates more than {MAX_CREATED // 1024} KiB of texts and lists")

    def operation(self) -> None:
        """Looks whether the time is over: operators are not steps, but each may work on a long text."""
        self._operations += 1
        if self._operations <= _FREE_OPERATIONS:
            return
        now_s = time.thread_time()
        if self._until_s is None:
            self._until_s = now_s + MAX_CPU_S
        elif now_s > self._until_s:
            raise TemplateRuntimeError(f"takes more than {MAX_CPU_S:g} s")


METER = Meter()
