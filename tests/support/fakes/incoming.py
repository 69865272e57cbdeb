"""Makes deliveries without a broker, for tests of the code that handles them."""

from __future__ import annotations

from typing import Any

from shared.message.channels import Lane, Priority
from shared.message.incoming import Acks, Incoming


class RememberedAcks:
    """Stands in for a channel's ack book."""

    def __init__(self) -> None:
        self.acked: list[int] = []
        self.is_open = True

    def ack(self, tag: int) -> None:
        self.acked.append(tag)


def make_incoming(
    body: bytes = b"{}",
    *,
    priority: Priority = "medium",
    tag: int = 1,
    channel: str = "push",
    headers: dict[str, Any] | None = None,
    delivery_count: int = 0,
    book: Acks | None = None,
) -> Incoming:
    return Incoming(
        lane=Lane(channel, priority),
        tag=tag,
        book=book or RememberedAcks(),
        body=body,
        headers=headers or {},
        redelivered=delivery_count > 0,
        delivery_count=delivery_count,
        message_id="m",
        timestamp_ms=None,
    )
