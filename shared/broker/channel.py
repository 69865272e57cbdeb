"""Makes the methods of an AMQP channel awaitable: each ends in an answer, in ChannelGone, or after a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pika import spec
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPError

from shared.errors import NotifyError

#: longest wait for the broker's answer to one method, seconds
RPC_DEADLINE_S = 10.0

GetAnswer = tuple[Any, Any, bytes]


class ChannelGone(NotifyError):
    """Says that the channel or its connection is closed. ``code`` is AMQP's reply code (0 if the connection broke)."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{code} {text}" if code else text)


#: every error that can end an exchange with the broker; a caller that catches one starts the exchange again
BROKER_FAILURES: tuple[type[Exception], ...] = (ChannelGone, TimeoutError, AMQPError)


class AmqpChannel:
    """Wraps an open pika channel. Calls ``on_closed`` once, with the ChannelGone that all waiting calls raise."""

    def __init__(self, raw: PikaChannel, on_closed: Callable[[ChannelGone], None] | None = None) -> None:
        self.raw = raw
        self.gone: ChannelGone | None = None
        self._on_closed = on_closed
        self._waiters: set[asyncio.Future[Any]] = set()
        raw.add_on_close_callback(self._closed)

    @property
    def is_open(self) -> bool:
        return self.gone is None and self.raw.is_open

    async def call(self, method: Callable[..., Any], /, **arguments: Any) -> Any:
        """Sends one synchronous method and returns the broker's answer to it (for example ``Queue.DeclareOk``).

        Raises ChannelGone, or TimeoutError after RPC_DEADLINE_S seconds.
        """
        return await self._answer(lambda waiter: method(callback=_resolver(waiter), **arguments))

    async def get(self, queue: str, on_late: Callable[[int], None] | None = None) -> GetAnswer | None:
        """Takes one message by ``basic.get``. Raises the same errors as ``call``.

        Returns (method, properties, body), or None if the queue is empty. A message that arrives when the caller no
        longer waits, after the deadline or a cancellation, is given back to its queue; then ``on_late`` is called with
        its tag. Until the broker has answered, further calls raise an AMQPError.
        """

        arrived: list[GetAnswer] = []

        def give_back(tag: int) -> None:
            # Nobody has the message, so nobody would ever ack it.
            if self.is_open:
                self.raw.basic_reject(tag, requeue=True)
                if on_late is not None:
                    on_late(tag)

        def send(waiter: asyncio.Future[GetAnswer | None]) -> None:
            # pika reports an empty queue only through its callback registry.
            empty = _resolver(waiter, None)

            def got(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
                self.raw.callbacks.remove(str(self.raw.channel_number), spec.Basic.GetEmpty, empty)
                if waiter.done():
                    give_back(method.delivery_tag)
                else:
                    arrived.append((method, properties, body))
                    waiter.set_result(arrived[0])

            self.raw.basic_get(queue, got)
            self.raw.add_callback(empty, [spec.Basic.GetEmpty], True)

        answer: GetAnswer | None
        try:
            answer = await self._answer(send)
        except BaseException:
            # The answer and the deadline may come in the same turn of the loop.
            for method, _, _ in arrived:
                give_back(method.delivery_tag)
            raise
        return answer

    async def close(self) -> None:
        """Closes the channel; its unacked messages return to their queue. Does nothing if it is closed already.

        Raises TimeoutError after RPC_DEADLINE_S seconds.
        """
        if self.is_open:
            closed = asyncio.Event()
            self.raw.add_on_close_callback(lambda *_: closed.set())
            self.raw.close()
            async with asyncio.timeout(RPC_DEADLINE_S):
                await closed.wait()

    def discard(self) -> None:
        """Starts to close the channel, if it is open, and returns at once."""
        if self.is_open:
            self.raw.close()

    async def _answer(self, send: Callable[[asyncio.Future[Any]], None]) -> Any:
        if self.gone is not None:
            raise self.gone
        if not self.raw.is_open:
            raise ChannelGone(0, "channel is closing")
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            send(waiter)
            async with asyncio.timeout(RPC_DEADLINE_S):
                return await waiter
        finally:
            self._waiters.discard(waiter)

    def _closed(self, _raw: PikaChannel, reason: BaseException) -> None:
        self.gone = ChannelGone(getattr(reason, "reply_code", 0), getattr(reason, "reply_text", "") or repr(reason))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self.gone)
        if self._on_closed is not None:
            self._on_closed(self.gone)


def _resolver(waiter: asyncio.Future[Any], *fixed: Any) -> Callable[..., None]:
    def resolve(*answer: Any) -> None:
        if not waiter.done():
            value = fixed if fixed else answer
            waiter.set_result(value[0] if value else None)

    return resolve
