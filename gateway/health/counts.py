"""Counts what the gateway accepts, refuses and cuts, and its lost log lines, over all its processes.

This is prometheus_client's multiprocess mode: each process counts in a file of its own in the directory that
PROMETHEUS_MULTIPROC_DIR names; the process that answers ``/metrics`` adds up all files. The file of a process that died
remains, so the sum never falls while the gateway runs. A gauge must name its ``multiprocess_mode``, because values of
dead processes would otherwise be shown as current.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.health.metrics_directory import current_directory
from shared.logs import count_lost_lines
from shared.message.channels import CHANNELS, Lane, lanes_of


class AcceptedCounts:
    """Counts accepted messages, refusals, cut connections and lost log lines.

    Create it after fork: each process counts in its own file.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("channel", "lane")
        counter = Counter("notify_accepted", "Envelopes confirmed by the broker", labels, registry=self._registry)
        lost = Counter("notify_log_lines_lost", "Log lines that could not be written", registry=self._registry)
        count_lost_lines(lost.inc)
        # Created in advance, so that a lane without messages reads 0 and no request has to search for its counter.
        self._counters = {
            lane: counter.labels(lane.channel, lane.priority) for channel in CHANNELS for lane in lanes_of(channel)
        }

        self._refused = Counter(
            "notify_refused", "Requests, and items of batches, that were refused", ("status",), registry=self._registry
        )
        self._cut = Counter(
            "notify_connections_cut", "Connections that the gateway cut", ("rule",), registry=self._registry
        )
        self.wakeups_failed = Counter(
            "notify_wakeups_failed",
            "Changes of an inbox that could not be announced to the devices at once",
            registry=self._registry,
        )
        self.store_unavailable = Counter(
            "notify_store_unavailable",
            "Requests that the database of the inboxes did not answer",
            registry=self._registry,
        )

    def refused(self, status: int, number: int = 1) -> None:
        """Counts refused requests or items."""
        self._refused.labels(str(status)).inc(number)

    def cut(self, rule: str) -> None:
        """Counts a connection that was cut for breaking ``rule``."""
        self._cut.labels(rule).inc()

    def add(self, lanes: Iterable[Lane]) -> None:
        """Counts one more accepted message for each lane."""
        for lane in lanes:
            self._counters[lane].inc()

    def render(self) -> bytes:
        """Returns the Prometheus text format, summed over all processes that share a directory."""
        directory = current_directory()
        if directory is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
