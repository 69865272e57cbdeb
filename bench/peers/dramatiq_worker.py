"""Runs Dramatiq with its default middleware (age and time limits, retries)."""

from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.peers import work
from bench.peers.blocking import deliver as deliver_one

QUEUE = "bench_dramatiq"

dramatiq.set_broker(RabbitmqBroker(url=work.AMQP_URL))


@dramatiq.actor(queue_name=QUEUE)
def deliver(envelope: dict[str, Any]) -> None:
    deliver_one(envelope)
