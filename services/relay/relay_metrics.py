"""Defines the counters of the relay; docs/operating.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class RelayMetrics:
    """Holds the metrics of one relay, in the registry of its process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter("notify_outbox_published", "Rows that were published and marked", registry=registry)
        self.failed = Counter("notify_outbox_failed", "Rows that are no valid notification", registry=registry)
        self.unconfirmed = Counter(
            "notify_outbox_unconfirmed",
            "Rows that RabbitMQ did not confirm; they are published again",
            registry=registry,
        )
        self.errors = Counter(
            "notify_outbox_errors",
            "Errors of the outbox's database; what was in progress is repeated",
            registry=registry,
        )
        self.oldest_s = Gauge(
            "notify_outbox_oldest_seconds", "For how long the oldest row has been waiting", registry=registry
        )
