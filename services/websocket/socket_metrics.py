"""Defines the counters and gauges of the half that serves devices; docs/operating.md lists them."""

from __future__ import annotations

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared import clock
from shared.clock import parse_rfc3339
from shared.realtime.wakeup import Wakeup

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 900)


class SocketMetrics:
    """Holds the metrics of one node, in the registry of its process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)

        self.connections = gauge(
            "active_websocket_connections", "Connections of devices on this node", "transport", "dialect"
        )
        self.live = counter("notify_live", "Wake-ups written to a device at once, one per device")
        self.resumed = counter(
            "notify_resumed", "Connections, by whether the device's position could be continued", "recovered"
        )
        self.pulls = counter("notify_pulls", "Devices that were brought up to date from the database", "why")
        self.wakeups_lost = counter(
            "notify_wakeups_lost", "Devices that a comparison of positions found behind their inbox"
        )
        self.slow_closed = counter("notify_slow_closed", "Connections closed because the device did not read")
        self.evicted = counter("notify_evicted", "Connections closed because the user had opened too many")
        self.closed = counter("notify_connections_closed", "Connections of devices that have ended", "code")
        self.refused = counter(
            "notify_connections_refused",
            "Requests of devices that did not become a connection",
            "status",
        )
        self.fanout_seconds = histogram("notify_fanout_seconds", "Seconds to write one wake-up to a user's devices")
        self.accept_to_socket_seconds = histogram(
            "notify_accept_to_socket_seconds",
            "Seconds from the acceptance of a notification until it was written to connected devices",
            "lane",
        )
        self.users = gauge("notify_presence_users", "Users with a device on this node")
        self.pending = gauge(
            "pending_notifications_count", "Changes that devices on this node lacked when positions were last compared"
        )

    def wrote(self, devices: int, wakeup: Wakeup) -> None:
        """Notes that a wake-up was written to this number of devices."""
        self.live.inc(devices)
        first = orjson.loads(wakeup.frames[0])
        shown = first.get("notification")
        if shown is None:
            return
        accepted_ms = parse_rfc3339(shown["created_at"])
        if accepted_ms is not None:
            self.accept_to_socket_seconds.labels(shown["priority"]).observe((clock.now_ms() - accepted_ms) / 1000)
