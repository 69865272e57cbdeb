"""The one publisher: pipelined confirms, mandatory, returns, a deadline, a bounded number unconfirmed.

Used by the gateway (in a thread) and by workers alike. "Confirmed" means stored on a quorum queue; a message that no
queue takes is returned, the topology is declared anew, and it is published again before the caller hears of it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog
from pika import BasicProperties, spec
from pika.exceptions import AMQPError

from shared.broker import topology
from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.connection import Connection, State
from shared.channels import CHANNELS
from shared.errors import PublishFailed, PublishRejected, PublishUnknown, PublishUnroutable, TopologyMismatch

log = structlog.get_logger(__name__)

#: declarations after a return happen at most this often, seconds
REDECLARE_EVERY_S = 1.0
#: after a refusal what follows goes through a fresh channel, at most this often, seconds
RENEW_EVERY_S = 1.0
#: longest wait for the confirms that a channel which was replaced still owes, seconds
DRAIN_S, DRAIN_POLL_S = 10.0, 0.05
#: times that a returned message is published again
RETURNED_TRIES = 3


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to be stored. ``correlation_id`` is the request_id; ``headers`` are built anew by the caller."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any]
    correlation_id: str = ""


class _Fate(Enum):
    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    LOST = "lost"


@dataclass(slots=True)
class _Pending:
    future: asyncio.Future[_Fate]
    message_id: str
    returned: bool = False


class Publisher:
    """Owns one connection. ``channels`` are those whose topology it declares."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        levels_s: Sequence[float],
        deadline_s: float,
        max_pending: int,
        heartbeat_s: int = 10,
        channels: Iterable[str] = tuple(CHANNELS),
    ) -> None:
        self._levels_s, self._channels = tuple(levels_s), tuple(channels)
        self._deadline_s = deadline_s
        self._connection = Connection(url, name, heartbeat_s=heartbeat_s, on_ready=self._prepare, on_lost=self._lost)
        self._room = asyncio.Semaphore(max_pending)
        self._channel: AmqpChannel | None = None
        self._ready = asyncio.Event()
        self._pending: dict[int, _Pending] = {}
        self._by_message_id: dict[str, _Pending] = {}
        self._tag = 0
        self._ids = (f"{os.getpid():x}-{time.time_ns():x}-{n:x}" for n in itertools.count())
        self._declaring = asyncio.Lock()
        self._declared_at = 0.0
        self._reopening: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection:
        """For collaborators that need a channel beside the publishing one (the depth sampler)."""
        return self._connection

    @property
    def state(self) -> State:
        return self._connection.state

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    async def close(self) -> None:
        """Close; what is unconfirmed stays unknown."""
        for task in (self._reopening, self._renewing):
            if task is not None:
                task.cancel()
        await self._connection.close()
        self._lost()

    async def publish(self, publication: Publication, deadline_s: float | None = None) -> None:
        """Return once RabbitMQ has confirmed it.

        Raises PublishUnroutable if no queue took it, PublishRejected if one refused it, PublishUnknown if the answer
        never came within ``deadline_s`` (it may be stored: publish again).
        """
        failure = (await self.publish_all([publication], deadline_s))[0]
        if failure is not None:
            raise failure

    async def publish_all(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]:
        """Publish pipelined; one entry a publication, in order: None once confirmed, else what befell it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (deadline_s or self._deadline_s)
        results: list[PublishFailed | None] = [None] * len(publications)
        todo = list(range(len(publications)))
        for tries in itertools.count(1):
            sent = await self._send_all(publications, todo, until)
            for index in todo[len(sent) :]:
                results[index] = PublishUnknown("the broker is away or busy: not sent within the deadline")
            if sent:
                await asyncio.wait([p.future for p in sent], timeout=max(0.0, until - loop.time()))
            again = self._judge(todo, sent, results)
            if not again or loop.time() >= until:
                break
            if any(isinstance(results[i], PublishUnroutable) for i in again):
                if tries >= RETURNED_TRIES:
                    break
                await self._declare_again(until)
            todo = again
            for index in todo:
                results[index] = None
        return results

    def _judge(self, todo: list[int], sent: list[_Pending], results: list[PublishFailed | None]) -> list[int]:
        """Write down each fate; return the indexes worth another try."""
        again = []
        for index, pending in zip(todo, sent, strict=False):
            fate = pending.future.result() if pending.future.done() else None
            if fate is None:
                # Still unconfirmed: its confirm, should it come, finds nobody waiting.
                results[index] = PublishUnknown("no confirm within the deadline")
            elif fate is _Fate.NACKED:
                results[index] = PublishRejected("refused by the queue")
            elif fate is _Fate.RETURNED:
                results[index] = PublishUnroutable("no queue is bound there")
                again.append(index)
            elif fate is _Fate.LOST:
                results[index] = PublishUnknown("the channel was lost before the confirm")
                again.append(index)
        return again

    async def _send_all(self, publications: Sequence[Publication], todo: list[int], until: float) -> list[_Pending]:
        """Send as many of ``todo`` as the deadline allows, in order."""
        sent: list[_Pending] = []
        loop = asyncio.get_running_loop()
        for index in todo:
            if not self._ready.is_set() or self._room.locked():
                try:
                    async with asyncio.timeout_at(until):
                        await self._ready.wait()
                        await self._room.acquire()
                except TimeoutError:
                    break
                if not self._ready.is_set():
                    self._room.release()
                    break
            else:
                await self._room.acquire()
            sent.append(self._send(publications[index], loop))
        return sent

    def _send(self, publication: Publication, loop: asyncio.AbstractEventLoop) -> _Pending:
        pending = _Pending(loop.create_future(), next(self._ids))
        channel = self._channel
        if channel is None or not channel.is_open:
            self._room.release()
            pending.future.set_result(_Fate.LOST)
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
            self._room.release()
            raise
        self._tag += 1
        self._pending[self._tag] = self._by_message_id[pending.message_id] = pending
        return pending

    def _on_confirm(self, base: int, frame: Any) -> None:
        method = frame.method
        fate = _Fate.CONFIRMED if isinstance(method, spec.Basic.Ack) else _Fate.NACKED
        if method.multiple:
            self._settle_between(base, base + method.delivery_tag, fate)
        else:
            self._settle(base + method.delivery_tag, fate)
        if fate is _Fate.NACKED and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        # A returned message is confirmed too, and its return comes first.
        pending = self._by_message_id.get(properties.message_id)
        if pending is not None:
            pending.returned = True

    def _settle(self, tag: int, fate: _Fate) -> None:
        pending = self._pending.pop(tag, None)
        if pending is None:
            return
        del self._by_message_id[pending.message_id]
        self._room.release()
        if not pending.future.done():
            pending.future.set_result(_Fate.RETURNED if pending.returned and fate is _Fate.CONFIRMED else fate)

    def _settle_between(self, above: int, last: int, fate: _Fate) -> None:
        for tag in [tag for tag in self._pending if above < tag <= last]:
            self._settle(tag, fate)

    def _lost(self) -> None:
        self._ready.clear()
        self._channel = None
        for tag in list(self._pending):
            self._settle(tag, _Fate.LOST)

    async def _prepare(self) -> None:
        await self._declare()
        await self._open()

    async def _open(self) -> None:
        """Publish through a fresh channel from now on."""
        channel = await self._connection.channel(self._channel_closed)
        base: int
        # The broker counts each channel's tags from 1; ours go on, so that two channels' confirms are never mixed up.
        await channel.call(channel.raw.confirm_delivery, ack_nack_callback=lambda frame: self._on_confirm(base, frame))
        base = self._tag  # with no await between here and the channel's first use
        channel.raw.add_on_return_callback(self._on_return)
        self._channel = channel
        self._ready.set()

    def _channel_closed(self, gone: ChannelGone) -> None:
        # A 404 (a missing exchange) takes the channel and half of what was pipelined with it.
        if self._channel is None or self._channel.gone is not gone:
            return
        self._lost()
        if gone.code and self._connection.state != "down":
            log.warning("publishing_channel_closed", error=str(gone))
            self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _renew(self) -> None:
        """After a refusal: a channel whose first publish found the queue without a leader is refused for ever.

        Seen on RabbitMQ 3.10, when the leader's node was killed; a fresh channel is served. The old one still gets
        the confirms that it is owed.
        """
        old = self._channel
        if old is None:
            return
        try:
            await self._open()
            await self._drain(old, self._tag)
        except (ChannelGone, TimeoutError, AMQPError) as exc:
            log.warning("publishing_channel_not_renewed", error=str(exc) or repr(exc))
        await asyncio.sleep(RENEW_EVERY_S)

    async def _drain(self, old: AmqpChannel, last: int) -> None:
        """Let ``old`` give the confirms that it owes, up to tag ``last``; then close it. Raises as its ``close``."""
        give_up_at = asyncio.get_running_loop().time() + DRAIN_S
        while old.is_open and any(tag <= last for tag in self._pending):
            if asyncio.get_running_loop().time() > give_up_at:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        self._settle_between(0, last, _Fate.LOST)
        await old.close()

    async def _reopen(self) -> None:
        try:
            await self._prepare()
        except (ChannelGone, TimeoutError, AMQPError, TopologyMismatch) as exc:
            log.warning("publishing_channel_not_reopened", error=str(exc))
            self._connection.drop()

    async def _declare(self) -> None:
        channel = await self._connection.channel()
        try:
            await topology.declare(channel, self._levels_s, self._channels)
        finally:
            await channel.close()
        self._declared_at = asyncio.get_running_loop().time()

    async def _declare_again(self, until: float) -> None:
        """Declare after a return, unless somebody has since; at most once a second, within the deadline."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            async with asyncio.timeout_at(until), self._declaring:
                if self._declared_at > asked_at:
                    return
                since_s = loop.time() - self._declared_at
                await asyncio.sleep(max(topology.CONSUMERS_TOLD_S, REDECLARE_EVERY_S - since_s))
                log.warning("unroutable_declaring_again")
                await self._declare()
        except (ChannelGone, TimeoutError, AMQPError, TopologyMismatch) as exc:
            log.warning("declaration_failed", error=str(exc))
