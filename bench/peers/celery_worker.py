"""Runs Celery as its optimizing guide says for many short tasks: large prefetch, late acks, no results, no events."""

from typing import Any

from celery import Celery

from bench.peers import work
from bench.peers.blocking import deliver as deliver_one

QUEUE = "bench.celery"

app = Celery("bench", broker=work.AMQP_URL)
app.conf.update(
    task_default_queue=QUEUE,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.deliver")
def deliver(envelope: dict[str, Any]) -> None:
    deliver_one(envelope)
