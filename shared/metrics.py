"""Defines every counter and gauge of the workers, in one registry that is passed in; docs/operating.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Holds the metrics; there is one instance per process. ``GET /metrics`` answers with ``render``."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry)

        self.delivered = counter("notify_delivered", "Messages that a provider accepted", "channel", "provider")
        self.retried = counter("notify_retried", "Messages sent to the retry ladder", "channel", "reason")
        self.failed = counter("notify_failed", "Messages sent to failed.queue", "channel", "reason")
        self.skipped = counter("notify_skipped", "Messages not sent by the recipient's choice", "channel", "reason")
        self.duplicates = counter("notify_duplicates", "Copies acked because their message was settled", "channel")
        self.marker_lost = counter("notify_marker_lost", "Outcomes that could not be recorded in Redis")
        self.lease_lost = counter("notify_lease_lost", "Records written by a worker that no longer held the claim")
        self.takeovers = counter("notify_takeovers", "Claims that replaced an expired lease")
        self.state_lost = counter("notify_state_lost", "Redelivered or retried messages without a record")
        self.ambiguous = counter(
            "notify_ambiguous",
            "Sends without an answer, or refused after the whole message was sent, and sent again",
            "channel",
            "provider",
            "why",
        )
        self.throttled = counter(
            "notify_throttled", "Calls refused because they came too fast for the account", "channel", "provider"
        )
        self.forward_repeated = counter(
            "notify_forward_repeated", "Publishes repeated for lack of a confirm", "channel"
        )
        self.forwards = gauge("notify_forwards", "Messages being forwarded, unconfirmed so far", "channel")
        self.oldest_forward = gauge(
            "notify_oldest_forward_seconds",
            "Seconds since the oldest of these forwards began, 0 without one",
            "channel",
        )
        self.handler_failed = counter("notify_handler_failed", "Messages that met a bug and were returned", "channel")
        self.breaker_state = gauge("notify_breaker_state", "0 closed, 1 half open, 2 open", "channel", "provider")
        self.rate_limit = gauge(
            "notify_rate_limit", "Calls per second that a provider accepts, 0 without limit", "channel", "provider"
        )
        self.paused = gauge("notify_paused", "1 while the worker consumes nothing", "channel")
        self.in_flight = gauge("notify_in_flight", "Unacked messages in this worker", "channel")
        self.broken_lanes = gauge("notify_broken_lanes", "Lanes that should flow and do not", "channel")
        self.lanes_broken = counter("notify_lanes_broken", "Times that a lane stopped flowing", "channel", "lane")
        self.broker_lost = counter("notify_broker_lost", "Connections to the broker that were lost", "use")
        self.broker_errors = counter(
            "notify_broker_errors", "Errors of a broker connection that no rule foresees, each in the log", "use"
        )
        self.log_lines_lost = counter("notify_log_lines_lost", "Log lines that could not be written")
        self.wakeups_failed = counter(
            "notify_wakeups_failed", "Changes of an inbox that could not be announced to the devices at once"
        )
        self.store_unavailable = counter(
            "notify_store_unavailable", "Calls of the database of the inboxes that failed because it was unavailable"
        )
        self.declaration_failed = counter(
            "notify_declaration_failed",
            "Declarations that the broker refused, for other reasons than arguments",
            "part",
        )
        self.inbox_batch_rows = Histogram(
            "notify_inbox_batch_rows",
            "Notifications that one transaction wrote into inboxes",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.inbox_commit_seconds = Histogram(
            "notify_inbox_commit_seconds",
            "Seconds that one such transaction took, with its wait for the database",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.delivery_seconds = Histogram(
            "notify_delivery_seconds",
            "Seconds from the acceptance of a message until a provider accepted it",
            ("channel", "lane"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Returns all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
