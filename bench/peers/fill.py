"""Puts COUNT envelopes on a peer's queue, in its own message format: ``python -m bench.peers.fill NAME COUNT RUN``."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

from bench.envelopes import envelope

_PUBLISHED_AT_ONCE = 500


def _celery(envelopes: Iterator[dict[str, Any]]) -> None:
    from bench.peers.celery_worker import app, deliver

    with app.producer_pool.acquire(block=True) as producer:
        for each in envelopes:
            deliver.apply_async((each,), producer=producer)


def _dramatiq(envelopes: Iterator[dict[str, Any]]) -> None:
    from bench.peers.dramatiq_worker import deliver

    for each in envelopes:
        deliver.send(each)


def _faststream(envelopes: Iterator[dict[str, Any]]) -> None:
    asyncio.run(_publish_to_faststream(list(envelopes)))


async def _publish_to_faststream(envelopes: list[dict[str, Any]]) -> None:
    from bench.peers.faststream_worker import QUEUE, broker

    async with broker:
        # The subscriber's start declares the queue; nothing consumes from it yet.
        await broker.declare_queue(_durable(QUEUE))
        for start in range(0, len(envelopes), _PUBLISHED_AT_ONCE):
            part = envelopes[start : start + _PUBLISHED_AT_ONCE]
            await asyncio.gather(*(broker.publish(each, queue=QUEUE, persist=True) for each in part))


def _durable(name: str) -> Any:
    from faststream.rabbit import RabbitQueue

    return RabbitQueue(name, durable=True)


FILLERS = {"celery": _celery, "dramatiq": _dramatiq, "faststream": _faststream}


def main(name: str, count: int, run: str) -> None:
    FILLERS[name](envelope(f"{name}-{run}-{index}") for index in range(count))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
