"""Runs FastStream on RabbitMQ with aiohttp: hundreds of messages in flight, each acked after its handler.

It logs as it does by default: one line when a message arrives and one when it is done, as the product writes one line
per outcome. With ``BENCH_QUIET`` set it logs nothing.
"""

import os
from typing import Any

import aiohttp
import redis.asyncio
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from bench.peers import work

QUEUE = "bench.faststream"
PREFETCH = 256

_quiet: dict[str, Any] = {"logger": None} if os.environ.get("BENCH_QUIET") else {}
broker = RabbitBroker(work.AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH), **_quiet)
app = FastStream(broker, **_quiet)
_store = redis.asyncio.Redis.from_url(work.REDIS_URL)


class _Http:
    """Holds the session of this worker process; it needs a running loop, so it is made at start."""

    session: aiohttp.ClientSession


@app.on_startup
async def _open() -> None:
    _Http.session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=PREFETCH),
        timeout=aiohttp.ClientTimeout(total=work.TIMEOUT_S),
        headers=work.HEADERS,
    )


@app.after_shutdown
async def _close() -> None:
    await _Http.session.close()
    await _store.aclose()


@broker.subscriber(RabbitQueue(QUEUE, durable=True), ack_policy=AckPolicy.NACK_ON_ERROR)
async def deliver(envelope: dict[str, Any]) -> None:
    """Claims, sends and marks as done; drops a duplicate."""
    key = work.key(envelope)
    if not await _store.set(key, "sending", nx=True, ex=work.RECORD_TTL_S):
        return
    async with _Http.session.post(work.SEND_URL, json=work.message(envelope)) as answer:
        answer.raise_for_status()
        await answer.read()
    await _store.set(key, "done", ex=work.RECORD_TTL_S)
