"""Publishes messages on one channel, matches the broker's confirms and returns to them, and replaces the channel."""

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
from shared.logs import log_death

log = structlog.get_logger(__name__)

#: after a refused message a fresh channel is opened for the following ones, at most once per this many seconds
RENEW_EVERY_S = 1.0
#: longest wait for the outstanding confirms of a replaced channel, and how often they are checked, seconds
DRAIN_S, DRAIN_POLL_S = 10.0, 0.05


@dataclass(frozen=True, slots=True)
class Publication:
    """Describes one message to publish. ``correlation_id`` is the request_id; the caller builds new ``headers``."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any]
    correlation_id: str = ""


class Fate(Enum):
    """Lists the broker's possible answers to one publish; LOST means that no answer can come any more."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    LOST = "lost"


@dataclass(slots=True)
class Pending:
    """Tracks a message that was published and is not confirmed yet.

    The broker returns an unroutable message and then confirms it; ``returned`` is True once the return has come.
    """

    fate: asyncio.Future[Fate]
    message_id: str
    returned: bool = False


class Outlet:
    """Publishes on one channel of ``connection`` at a time.

    ``on_closed`` is called when the broker has closed the channel but not the connection.
    """

    def __init__(self, connection: Connection, max_pending: int, on_closed: Callable[[], None]) -> None:
        self._connection = connection
        self._on_closed = on_closed
        #: free places for unconfirmed messages; a sender takes one before it sends
        self.room = asyncio.Semaphore(max_pending)
        #: set while there is a channel
        self.ready = asyncio.Event()
        self._channel: AmqpChannel | None = None
        self._pending: dict[int, Pending] = {}
        self._by_message_id: dict[str, Pending] = {}
        self._tag = 0
        self._ids = (f"{os.getpid():x}-{time.time_ns():x}-{n:x}" for n in itertools.count())
        self._renewing: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Makes sure that there is an open channel to send through. Raises ChannelGone, TimeoutError."""
        async with self._opening:
            if self._channel is None or not self._channel.is_open:
                await self._replace()

    async def _replace(self) -> None:
        """Opens a fresh channel and sends through it from now on; the caller holds ``_opening``.

        Two at once would leave a channel open that nothing uses, and the broker limits how many a connection may have.
        """
        channel = await self._connection.channel(self._channel_closed)
        base: int
        try:
            # The broker counts the tags of each channel from 1. Ours continue across channels, so that the confirms of
            # two channels are never mixed up.
            await channel.call(
                channel.raw.confirm_delivery, ack_nack_callback=lambda frame: self._on_confirm(base, frame)
            )
        except BaseException:
            channel.discard()
            raise
        base = self._tag  # there is no await between this line and the first use of the channel
        channel.raw.add_on_return_callback(self._on_return)
        self._channel = channel
        self.ready.set()

    def send(self, publication: Publication, loop: asyncio.AbstractEventLoop) -> Pending:
        """Writes the message. The caller has taken a place in ``room``; it is released when the fate is known."""
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
            # Nothing was written, for example because AMQP cannot hold a header. Only a written message has a tag: if
            # the tag were counted here, each later message would be matched with the confirm of its neighbour.
            self.room.release()
            raise
        self._tag += 1
        self._pending[self._tag] = self._by_message_id[pending.message_id] = pending
        return pending

    def lost(self) -> None:
        """Settles all unconfirmed messages as LOST, because the connection is closed."""
        self.ready.clear()
        self._channel = None
        for tag in list(self._pending):
            self._settle(tag, Fate.LOST)

    def stop(self) -> None:
        """Stops replacing the channel."""
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
            self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="channel renewal")
            self._renewing.add_done_callback(log_death)

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
        # A 404 (a missing exchange) closes the channel; half of the pipelined messages can be lost with it.
        if self._channel is None or self._channel.gone is not gone:
            return
        self.lost()
        if gone.code and self._connection.state != "down":
            log.warning("publishing_channel_closed", error=str(gone))
            self._on_closed()

    async def _renew(self) -> None:
        """Replaces the channel after a message was refused.

        If the first publish on a channel finds the queue without a leader, the broker refuses all later publishes of
        that channel. This was seen on RabbitMQ 3.10 when the leader's node was killed; a fresh channel is served. The
        old channel still receives its outstanding confirms.
        """
        try:
            async with self._opening:
                old = self._channel
                if old is None or not old.is_open:
                    # It was closed in the meantime, and ``on_closed`` has led to a fresh one or will.
                    return
                await self._replace()
            await self._drain(old, self._tag)
        except BROKER_FAILURES as exc:
            log.warning("publishing_channel_not_renewed", error=str(exc) or repr(exc))
        await asyncio.sleep(RENEW_EVERY_S)

    async def _drain(self, old: AmqpChannel, last: int) -> None:
        """Waits for the outstanding confirms of ``old`` up to tag ``last``, then closes it. Raises as its ``close``."""
        give_up_at = asyncio.get_running_loop().time() + DRAIN_S
        while old.is_open and any(tag <= last for tag in self._pending):
            if asyncio.get_running_loop().time() > give_up_at:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        self._settle_between(0, last, Fate.LOST)
        await old.close()
