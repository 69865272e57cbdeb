"""Does what other services do to a lane with plain AMQP: refuse messages, never settle them, let them expire. All
functions block.
"""

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
    """Takes the next message and rejects it without requeue: the broker dead-letters it as ``rejected``."""
    with _channel(amqp_url) as channel:
        channel.basic_nack(_take(channel, queue), requeue=False)


def give_back(amqp_url: str, queue: str, times: int) -> None:
    """Takes the only message of ``queue`` and requeues it, ``times`` times: beyond its limit the broker dead-letters
    it.
    """
    with _channel(amqp_url) as channel:
        for _ in range(times):
            channel.basic_nack(_take(channel, queue), requeue=True)


def publish_expiring(amqp_url: str, parcel: Parcel, within_ms: int) -> None:
    """Publishes a message with an expiration of its own: the broker dead-letters it as ``expired``."""
    properties = pika.BasicProperties(delivery_mode=2, expiration=str(within_ms))
    with _channel(amqp_url) as channel:
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE, parcel.lane.routing_key, parcel.body, properties, mandatory=True)


def _take(channel: Any, queue: str) -> int:
    # A message that was just requeued is not available at once.
    method = eventually(lambda: channel.basic_get(queue)[0])
    return int(method.delivery_tag)
