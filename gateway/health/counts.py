"""``notify_accepted_total`` over all processes of one gateway: each writes a file of its own, whoever is asked adds up.

The files outlive a process that died, so that the sum never falls; they go when the gateway ends.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from shared.message.channels import CHANNELS, Lane, lanes_of

_LANES = tuple(itertools.chain.from_iterable(lanes_of(channel) for channel in CHANNELS))
_INDEX = {lane: index for index, lane in enumerate(_LANES)}
_BYTES = 8 * len(_LANES)


class AcceptedCounts(Collector):
    """Counts of this process in a mapped file under ``directory``. Make it after fork: one writer a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        with (directory / f"{os.getpid()}-{time.time_ns()}.counts").open("w+b") as file:
            file.truncate(_BYTES)
            # Whole 8-byte words: struct would store byte by byte, and another process could read half a number.
            self._words = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def add(self, lanes: Iterable[Lane]) -> None:
        """One more accepted message for each."""
        with self._lock:
            for lane in lanes:
                self._words[_INDEX[lane]] += 1

    def render(self) -> bytes:
        """The Prometheus text format, over all processes."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("notify_accepted", "Envelopes confirmed by the broker", labels=("channel", "lane"))
        totals = [0] * len(_LANES)
        for file in self._directory.glob("*.counts"):
            for index, count in enumerate(memoryview(file.read_bytes()).cast("Q")):
                totals[index] += count
        for lane, total in zip(_LANES, totals, strict=True):
            family.add_metric((lane.channel, lane.priority), total)
        yield family
