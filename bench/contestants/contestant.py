"""Defines what the push measurement needs of a contestant."""

from typing import Protocol

from bench.arena import Arena
from bench.processes import Child


class Contestant(Protocol):
    """Describes a worker of two processes that delivers what already lies in its queue."""

    @property
    def name(self) -> str: ...

    @property
    def queue(self) -> str: ...

    def fill(self, arena: Arena, count: int, run: str) -> None:
        """Puts ``count`` envelopes with new request_ids on the queue; no worker runs yet."""

    def start(self, arena: Arena) -> list[Child]:
        """Starts the worker. Returns the roots of its process trees."""
