"""Checks that a message that ``basic.get`` brings too late returns to its queue, and that acks stay few after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.broker.channel import AmqpChannel
from shared.broker.incoming import AckBook
from tests.support.waiting import eventually_async


class RawChannel:
    """Stands in for pika's channel: the test answers its ``basic_get``, and reads what was written."""

    channel_number = 1
    is_open = True

    def __init__(self) -> None:
        self.callbacks = SimpleNamespace(remove=lambda *_: None)
        self.written: list[tuple[Any, ...]] = []
        self.answer: Callable[..., None] | None = None

    def add_on_close_callback(self, _callback: Any) -> None:
        """Does nothing: this channel stays open."""

    def add_callback(self, *_: Any) -> None:
        """Does nothing: the queue is never empty."""

    def basic_get(self, _queue: str, callback: Callable[..., None]) -> None:
        self.answer = callback

    def bring(self, tag: int) -> None:
        assert self.answer is not None
        self.answer(self, SimpleNamespace(delivery_tag=tag), None, b"{}")

    def basic_reject(self, tag: int, *, requeue: bool) -> None:
        self.written.append(("reject", tag, requeue))

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.written.append(("ack", tag, multiple))


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> RawChannel:
    monkeypatch.setattr("shared.broker.channel.RPC_DEADLINE_S", 0.01)
    return RawChannel()


@pytest.fixture
def channel(raw: RawChannel) -> AmqpChannel:
    pika: Any = raw
    return AmqpChannel(pika)


async def test_a_message_that_comes_in_time_is_returned(channel: AmqpChannel, raw: RawChannel) -> None:
    getting = asyncio.create_task(channel.get("push.queue"))
    await eventually_async(lambda: raw.answer, poll_s=0)
    raw.bring(1)
    assert await getting is not None
    assert raw.written == []


async def test_a_message_that_comes_after_the_deadline_returns_to_its_queue(
    channel: AmqpChannel, raw: RawChannel
) -> None:
    with pytest.raises(TimeoutError):
        await channel.get("push.queue")
    raw.bring(1)
    assert raw.written == [("reject", 1, True)]


@pytest.mark.parametrize("brought_first", [True, False], ids=["before", "after"])
async def test_a_message_whose_taker_was_cancelled_returns_to_its_queue(
    brought_first: bool, channel: AmqpChannel, raw: RawChannel
) -> None:
    getting = asyncio.create_task(channel.get("push.queue"))
    await eventually_async(lambda: raw.answer, poll_s=0)
    if brought_first:
        # Both come in the same turn of the loop.
        raw.bring(1)
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    if not brought_first:
        raw.bring(1)
    assert raw.written == [("reject", 1, True)]


async def test_a_returned_message_does_not_make_all_later_acks_single(channel: AmqpChannel, raw: RawChannel) -> None:
    book = AckBook(channel)
    with pytest.raises(TimeoutError):
        await channel.get("push.queue", book.skip)
    raw.bring(1)
    for tag in (2, 3, 4):
        book.ack(tag)
    book.flush()
    assert raw.written == [("reject", 1, True), ("ack", 4, True)]
