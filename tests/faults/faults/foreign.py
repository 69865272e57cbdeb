"""What other services do to a lane with plain AMQP: refuse messages, never settle them, let them expire. All block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika

from shared.broker.topology import EXCHANGE
from tests.faults.load.envelopes import Parcel
from tests.support.waiting import eventually


@contextmanager
def _channel(amqp_url: str) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        yield connection.channel()


def reject(amqp_url: str, queue: str) -> None:
    """Take the next message and refuse it for good: the broker dead-letters it as ``rejected``."""
    with _channel(amqp_url) as channel:
        channel.basic_nack(_take(channel, queue), requeue=False)


def give_back(amqp_url: str, queue: str, times: int) -> None:
    """Take the only message of ``queue`` and return it, so many times: past its limit the broker dead-letters it."""
    with _channel(amqp_url) as channel:
        for _ in range(times):
            channel.basic_nack(_take(channel, queue), requeue=True)


def publish_expiring(amqp_url: str, parcel: Parcel, within_ms: int) -> None:
    """Published with an expiration of its own: the broker dead-letters it as ``expired``."""
    properties = pika.BasicProperties(delivery_mode=2, expiration=str(within_ms))
    with _channel(amqp_url) as channel:
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE, parcel.lane.routing_key, parcel.body, properties, mandatory=True)


def _take(channel: Any, queue: str) -> int:
    # A message that was just returned is not there at once.
    method = eventually(lambda: channel.basic_get(queue)[0])
    return int(method.delivery_tag)
