"""Implements the gateway's route in the usual way: Flask, pydantic, one BlockingConnection per thread, single confirms.

Like the product's gateway it validates, answers a repeated request_id from Redis, and answers 202 only after the broker
has confirmed a mandatory publish to a quorum queue.
"""

import os
import threading
from typing import Any, Literal

import pika
import redis
from flask import Flask, request
from flask.typing import ResponseReturnValue
from pika.adapters.blocking_connection import BlockingChannel
from pydantic import BaseModel, ConfigDict, Field, ValidationError

QUEUE = "bench.usual"
_RECORD_TTL_S = 24 * 3600
_PERSISTENT = 2

app = Flask(__name__)
_store = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
_local = threading.local()


class Recipient(BaseModel):
    push_tokens: list[str] = []
    email: str | None = None
    phone: str | None = None


class Notification(BaseModel):
    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")
    notification_type: Literal["push", "email", "sms"]
    template_code: str
    variables: dict[str, Any] = {}
    recipient: Recipient
    priority: Literal["high", "medium", "low"] = "medium"
    metadata: dict[str, Any] = {}


@app.post("/notifications")
def accept() -> ResponseReturnValue:
    try:
        notification = Notification.model_validate_json(request.get_data())
    except ValidationError as invalid:
        return {"errors": invalid.errors(include_url=False)}, 422
    answer = {"request_id": notification.request_id, "status": "accepted", "channels": [notification.notification_type]}
    key = f"usual:{notification.request_id}"
    if _store.get(key) is None:
        _publish(notification.model_dump_json().encode(), notification.request_id)
        _store.set(key, "accepted", ex=_RECORD_TTL_S)
    return answer, 202


@app.get("/health")
def health() -> ResponseReturnValue:
    return {"status": "healthy"}


def _publish(body: bytes, request_id: str) -> None:
    properties = pika.BasicProperties(
        content_type="application/json", delivery_mode=_PERSISTENT, correlation_id=request_id
    )
    _channel().basic_publish("", QUEUE, body, properties, mandatory=True)


def _channel() -> BlockingChannel:
    if not hasattr(_local, "channel"):
        channel = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])).channel()
        channel.confirm_delivery()
        _local.channel = channel
    opened: BlockingChannel = _local.channel
    return opened
