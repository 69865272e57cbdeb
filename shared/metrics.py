"""Defines every counter and gauge of the product, in one registry that is passed in; docs/operating.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Built once a process; ``render`` is what ``GET /metrics`` answers."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry)

        self.delivered = counter("notify_delivered", "Messages a provider said yes to", "channel", "provider")
        self.retried = counter("notify_retried", "Messages sent to the retry ladder", "channel", "reason")
        self.failed = counter("notify_failed", "Messages sent to failed.queue", "channel", "reason")
        self.skipped = counter("notify_skipped", "Messages not sent by the recipient's choice", "channel", "reason")
        self.duplicates = counter("notify_duplicates", "Copies acked because their life is settled", "channel")
        self.marker_lost = counter("notify_marker_lost", "Outcomes that Redis could not be told")
        self.lease_lost = counter("notify_lease_lost", "Records written although the claim was no longer ours")
        self.takeovers = counter("notify_takeovers", "Claims over an expired lease")
        self.state_lost = counter("notify_state_lost", "Redelivered or retried messages without a record")
        self.ambiguous = counter("notify_ambiguous", "Sends whose answer was cut or timed out", "channel", "provider")
        self.forward_repeated = counter("notify_forward_repeated", "Publishings repeated to be confirmed", "channel")
        self.handler_failed = counter("notify_handler_failed", "Messages that met a bug and were returned", "channel")
        self.breaker_state = gauge("notify_breaker_state", "0 closed, 1 half open, 2 open", "channel", "provider")
        self.paused = gauge("notify_paused", "1 while the worker consumes nothing", "channel")
        self.in_flight = gauge("notify_in_flight", "Messages in hand", "channel")
        self.broken_lanes = gauge("notify_broken_lanes", "Lanes that do not flow although they should", "channel")
        self.lanes_broken = counter("notify_lanes_broken", "Times that a lane stopped flowing", "channel", "lane")
        self.broker_lost = counter("notify_broker_lost", "Connections to the broker that were lost", "use")
        self.broker_errors = counter(
            "notify_broker_errors", "Errors of a broker connection that no rule foresees, each in the log", "use"
        )
        self.delivery_seconds = Histogram(
            "notify_delivery_seconds",
            "From accepted-at to the provider's yes",
            ("channel", "lane"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
