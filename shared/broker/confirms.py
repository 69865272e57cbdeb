"""Publishes messages on one channel, matches the broker's confirms and returns to them, and renews the channel."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog
from pika import BasicProperties, spec

from shared.broker.channel import BROKER_FAILURES, AmqpChannel, ChannelGone
from shared.broker.connection import Connection

log = structlog.get_logger(__name__)

#: after a refusal what follows goes through a fresh channel, at most this often, seconds
RENEW_EVERY_S = 1.0
#: longest wait for the confirms that a channel which was replaced still owes, seconds
DRAIN_S, DRAIN_POLL_S = 10.0, 0.05


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish. ``correlation_id`` is the request_id; the caller builds ``headers`` from nothing."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any]
    correlation_id: str = ""


class Fate(Enum):
    """The broker's answer to one publish; LOST means that no answer can come any more."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    LOST = "lost"


@dataclass(slots=True)
class Pending:
    """A message that was published and is not confirmed yet.

    The broker returns an unroutable message and then confirms it: ``returned`` remembers the first of the two.
    """

    fate: asyncio.Future[Fate]
    message_id: str
    returned: bool = False


class Outlet:
    """One channel at a time on ``connection``. ``on_closed`` is told when the broker alone has closed it."""

    def __init__(self, connection: Connection, max_pending: int, on_closed: Callable[[], None]) -> None:
        self._connection = connection
        self._on_closed = on_closed
        #: places for unconfirmed messages; who sends takes one first
        self.room = asyncio.Semaphore(max_pending)
        #: set while there is a channel
        self.ready = asyncio.Event()
        self._channel: AmqpChannel | None = None
        self._pending: dict[int, Pending] = {}
        self._by_message_id: dict[str, Pending] = {}
        self._tag = 0
        self._ids = (f"{os.getpid():x}-{time.time_ns():x}-{n:x}" for n in itertools.count())
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Send through a fresh channel from now on. Raises ChannelGone, TimeoutError."""
        channel = await self._connection.channel(self._channel_closed)
        base: int
        # The broker counts each channel's tags from 1; ours go on, so that two channels' confirms are never mixed up.
        await channel.call(channel.raw.confirm_delivery, ack_nack_callback=lambda frame: self._on_confirm(base, frame))
        base = self._tag  # with no await between here and the channel's first use
        channel.raw.add_on_return_callback(self._on_return)
        self._channel = channel
        self.ready.set()

    def send(self, publication: Publication, loop: asyncio.AbstractEventLoop) -> Pending:
        """Write it, with a place in ``room`` taken; the place is given back when its fate is known."""
        pending = Pending(loop.create_future(), next(self._ids))
        channel = self._channel
        if channel is None or not channel.is_open:
            self.room.release()
            pending.fate.set_result(Fate.LOST)
            return pending
        properties = BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=pending.message_id,
            correlation_id=publication.correlation_id or None,
            headers=publication.headers,
        )
        try:
            channel.raw.basic_publish(
                publication.exchange, publication.routing_key, publication.body, properties, mandatory=True
            )
        except Exception:
            # Nothing was written (a header that AMQP cannot hold, say). Only what was written has a tag: one more
            # here, and from now on each message would be taken for stored by its neighbour's confirm.
            self.room.release()
            raise
        self._tag += 1
        self._pending[self._tag] = self._by_message_id[pending.message_id] = pending
        return pending

    def lost(self) -> None:
        """The connection is gone, or given up: what is unconfirmed stays unknown."""
        self.ready.clear()
        self._channel = None
        for tag in list(self._pending):
            self._settle(tag, Fate.LOST)

    def stop(self) -> None:
        """Renew nothing any more."""
        if self._renewing is not None:
            self._renewing.cancel()

    def _on_confirm(self, base: int, frame: Any) -> None:
        method = frame.method
        fate = Fate.CONFIRMED if isinstance(method, spec.Basic.Ack) else Fate.NACKED
        if method.multiple:
            self._settle_between(base, base + method.delivery_tag, fate)
        else:
            self._settle(base + method.delivery_tag, fate)
        if fate is Fate.NACKED and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        pending = self._by_message_id.get(properties.message_id)
        if pending is not None:
            pending.returned = True

    def _settle(self, tag: int, fate: Fate) -> None:
        pending = self._pending.pop(tag, None)
        if pending is None:
            return
        del self._by_message_id[pending.message_id]
        self.room.release()
        if not pending.fate.done():
            pending.fate.set_result(Fate.RETURNED if pending.returned and fate is Fate.CONFIRMED else fate)

    def _settle_between(self, above: int, last: int, fate: Fate) -> None:
        for tag in [tag for tag in self._pending if above < tag <= last]:
            self._settle(tag, fate)

    def _channel_closed(self, gone: ChannelGone) -> None:
        # A 404 (a missing exchange) takes the channel and half of what was pipelined with it.
        if self._channel is None or self._channel.gone is not gone:
            return
        self.lost()
        if gone.code and self._connection.state != "down":
            log.warning("publishing_channel_closed", error=str(gone))
            self._on_closed()

    async def _renew(self) -> None:
        """After a refusal: a channel whose first publish found the queue without a leader is refused for ever.

        Seen on RabbitMQ 3.10, when the leader's node was killed; a fresh channel is served. The old one still gets
        the confirms that it is owed.
        """
        old = self._channel
        if old is None:
            return
        try:
            await self.open()
            await self._drain(old, self._tag)
        except BROKER_FAILURES as exc:
            log.warning("publishing_channel_not_renewed", error=str(exc) or repr(exc))
        await asyncio.sleep(RENEW_EVERY_S)

    async def _drain(self, old: AmqpChannel, last: int) -> None:
        """Let ``old`` give the confirms that it owes, up to tag ``last``; then close it. Raises as its ``close``."""
        give_up_at = asyncio.get_running_loop().time() + DRAIN_S
        while old.is_open and any(tag <= last for tag in self._pending):
            if asyncio.get_running_loop().time() > give_up_at:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        self._settle_between(0, last, Fate.LOST)
        await old.close()
