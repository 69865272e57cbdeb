"""Defines the channels, their lanes, and the names of queues and routing keys that follow from them.

A new channel begins with an entry in ``CHANNELS``; docs/architecture.md lists all that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priority = Literal["high", "medium", "low"]

#: Lanes in the order in which a worker serves them.
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")
#: The address of an inbox is the ``user_id`` of the envelope.
OWN_ADDRESS = "user_id"


@dataclass(frozen=True, slots=True)
class ChannelDefaults:
    """Holds what a channel uses unless a setting says otherwise."""

    name: str
    #: The field that holds the address: of a recipient, or of a user in the directory. ``OWN_ADDRESS`` is the
    #: envelope's own field: such a channel needs no address from anybody.
    address: str
    #: The parts of a template that are rendered for this channel.
    parts: frozenset[str]
    #: Port of the worker's /health and /metrics; replica i listens on port + 10 i.
    worker_port: int
    #: Number of attempts that reach a provider before the message is given up.
    max_attempts: int
    #: Upper bound of one backoff, seconds.
    retry_cap_s: float
    #: Life of a message without ``expires_at``, seconds.
    expires_s: float


CHANNELS: dict[str, ChannelDefaults] = {
    channel.name: channel
    for channel in (
        ChannelDefaults(
            "push",
            "push_tokens",
            frozenset({"title", "body"}),
            worker_port=5071,
            max_attempts=8,
            retry_cap_s=900,
            expires_s=86_400,
        ),
        ChannelDefaults(
            "email",
            "email",
            frozenset({"subject", "title", "body", "html"}),
            worker_port=5072,
            max_attempts=10,
            retry_cap_s=3_600,
            expires_s=259_200,
        ),
        ChannelDefaults(
            "sms", "phone", frozenset({"body"}), worker_port=5073, max_attempts=8, retry_cap_s=900, expires_s=86_400
        ),
        ChannelDefaults(
            "websocket",
            OWN_ADDRESS,
            frozenset({"title", "body"}),
            worker_port=5074,
            max_attempts=8,
            retry_cap_s=900,
            expires_s=2_592_000,
        ),
    )
}

#: Channels that the envelope names before anything delivers them: the gateway answers a clear 422.
PLANNED_CHANNELS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lane:
    """Names one priority of one channel: it has its own routing key, queue and retry ladder."""

    channel: str
    priority: Priority

    @property
    def routing_key(self) -> str:
        return self.channel if self.priority == "medium" else f"{self.channel}.{self.priority}"

    @property
    def routing_keys(self) -> tuple[str, ...]:
        """Returns every routing key that leads to this lane; the first is the one that this product uses."""
        full = f"{self.channel}.{self.priority}"
        return (full,) if full == self.routing_key else (self.routing_key, full)

    @property
    def queue(self) -> str:
        return f"{self.routing_key}.queue"


def lanes_of(channel: str) -> tuple[Lane, ...]:
    """Returns the channel's three lanes, high first."""
    return tuple(Lane(channel, priority) for priority in PRIORITIES)


def lane_by_queue(queue: str) -> Lane | None:
    """Returns the lane whose queue has this name, or None."""
    return _LANES_BY_QUEUE.get(queue)


def lane_by_routing_key(routing_key: str) -> Lane | None:
    """Returns the lane that messages with this routing key go to, or None."""
    return _LANES_BY_ROUTING_KEY.get(routing_key)


_LANES_BY_QUEUE = {lane.queue: lane for channel in CHANNELS for lane in lanes_of(channel)}
_LANES_BY_ROUTING_KEY = {key: lane for lane in _LANES_BY_QUEUE.values() for key in lane.routing_keys}
