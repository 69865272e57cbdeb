"""Publishes messages and waits for their confirms, within a deadline and with a limit on unconfirmed messages.

The gateway (in a thread) and the workers use it alike. "Confirmed" means stored on a quorum queue. All messages are
mandatory: if no queue takes a message, the broker returns it. Then the topology is declared again and the message is
published again, before the caller gets an error.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

import structlog

from shared.broker import topology
from shared.broker.channel import BROKER_FAILURES
from shared.broker.confirms import Fate, Outlet, Pending, Publication
from shared.broker.connection import Connection, State
from shared.broker.declaration import Declaration
from shared.errors import PublishFailed, PublishRejected, PublishUnknown, PublishUnroutable, TopologyMismatch
from shared.logs import log_death
from shared.message.channels import CHANNELS
from shared.metrics import Metrics

__all__ = ["Publication", "Publisher"]

log = structlog.get_logger(__name__)

#: after a returned message the topology is declared again at most once per this many seconds
REDECLARE_EVERY_S = 1.0
#: a message is not published again if less than this is left before the deadline, seconds
LEAST_TRY_S = 0.2
#: how often a returned message is published, the first time included
RETURNED_TRIES = 3


class Publisher:
    """Publishes over its own connection, and declares the topology of ``channels``.

    A queue or exchange that exists with other arguments ends the connection for good, at any time: its ``watch`` raises
    the TopologyMismatch, and the process ends. Such a queue may lose what it confirms, so a process that went on would
    promise too much.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        levels_s: Sequence[float],
        deadline_s: float,
        max_pending: int,
        channels: Iterable[str] = tuple(CHANNELS),
        metrics: Metrics | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        metrics = metrics or Metrics()
        self._connection = Connection(
            url,
            name,
            use="publish",
            metrics=metrics,
            declare=self._declare,
            on_ready=self._open,
            on_lost=self._lost,
        )
        self._declaration = Declaration(self._connection, levels_s, channels, metrics)
        self._outlet = Outlet(self._connection, max_pending, self._channel_closed)
        self._declaring = asyncio.Lock()
        self._declared_at = 0.0
        self._reopening: set[asyncio.Task[None]] = set()

    @property
    def connection(self) -> Connection:
        """Returns the connection, for users that need a further channel on it (the depth sampler)."""
        return self._connection

    @property
    def state(self) -> State:
        return self._connection.state

    def start(self) -> None:
        """Starts to connect in the background, and returns at once."""
        self._connection.start()

    async def close(self) -> None:
        """Closes the connection; the fate of unconfirmed messages stays unknown."""
        for reopening in self._reopening:
            reopening.cancel()
        self._outlet.stop()
        await self._connection.close()
        self._outlet.lost()

    async def publish(self, publication: Publication, deadline_s: float | None = None) -> None:
        """Publishes one message, and returns once RabbitMQ has confirmed it.

        Raises PublishUnroutable if no queue took it, PublishRejected if a queue refused it, PublishUnknown if no answer
        came within ``deadline_s`` seconds (it may be stored: publish it again).
        """
        failure = (await self.publish_all([publication], deadline_s))[0]
        if failure is not None:
            raise failure

    async def publish_all(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]:
        """Publishes all messages without waiting for each single confirm.

        Returns one entry per publication, in order: None if it was confirmed, else the error.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (deadline_s or self._deadline_s)
        results: list[PublishFailed | None] = [None] * len(publications)
        todo = list(range(len(publications)))
        for tries in itertools.count(1):
            sent = await self._send_all(publications, todo, until)
            for index in todo[len(sent) :]:
                results[index] = PublishUnknown("the broker is unavailable or busy: not sent within the deadline")
            if sent:
                await asyncio.wait([p.fate for p in sent], timeout=max(0.0, until - loop.time()))
            again = self._judge(todo, sent, results)
            if not again or loop.time() >= until:
                break
            if any(isinstance(results[i], PublishUnroutable) for i in again):
                if tries >= RETURNED_TRIES:
                    break
                await self._declare_again(until)
                if until - loop.time() < LEAST_TRY_S:
                    # There is no time for another answer: "unroutable" tells the caller more than "unknown" would.
                    break
            todo = again
            for index in todo:
                results[index] = None
        return results

    def _judge(self, todo: list[int], sent: list[Pending], results: list[PublishFailed | None]) -> list[int]:
        """Writes each message's fate into ``results``, and returns the indexes that are worth another try."""
        again = []
        for index, pending in zip(todo, sent, strict=False):
            fate = pending.fate.result() if pending.fate.done() else None
            if fate is None:
                # Still unconfirmed: a late confirm is ignored.
                results[index] = PublishUnknown("no confirm within the deadline")
            elif fate is Fate.NACKED:
                results[index] = PublishRejected("refused by the queue")
            elif fate is Fate.RETURNED:
                results[index] = PublishUnroutable("no queue is bound there")
                again.append(index)
            elif fate is Fate.LOST:
                results[index] = PublishUnknown("the channel was lost before the confirm")
                again.append(index)
        return again

    async def _send_all(self, publications: Sequence[Publication], todo: list[int], until: float) -> list[Pending]:
        """Sends as many of ``todo`` as the deadline allows, in order, and returns them."""
        sent: list[Pending] = []
        loop, outlet = asyncio.get_running_loop(), self._outlet
        for index in todo:
            # Nothing is written to a blocked broker: each repeat of a publish would leave a copy that it stores later.
            if self._connection.blocked or not outlet.ready.is_set() or outlet.room.locked():
                try:
                    async with asyncio.timeout_at(until):
                        await self._connection.wait_unblocked()
                        await outlet.ready.wait()
                        await outlet.room.acquire()
                except TimeoutError:
                    break
                if not outlet.ready.is_set():
                    outlet.room.release()
                    break
            else:
                await outlet.room.acquire()
            sent.append(outlet.send(publications[index], loop))
        return sent

    async def _open(self) -> None:
        await self._outlet.open()

    def _lost(self) -> None:
        self._outlet.lost()

    def _channel_closed(self) -> None:
        reopening = asyncio.get_running_loop().create_task(self._reopen(), name="channel reopening")
        self._reopening.add(reopening)
        reopening.add_done_callback(self._reopening.discard)
        reopening.add_done_callback(log_death)

    async def _reopen(self) -> None:
        try:
            await self._declare()
            await self._outlet.open()
        except TopologyMismatch as mismatch:
            self._connection.end(mismatch)
        except BROKER_FAILURES as exc:
            log.warning("publishing_channel_not_reopened", error=str(exc) or repr(exc))
            self._connection.drop()
        except Exception:
            # Without this, the connection would stay up but never publish again.
            log.exception("publishing_channel_not_reopened")
            self._connection.drop()

    async def _declare(self) -> None:
        await self._declaration.declare()
        self._declared_at = asyncio.get_running_loop().time()

    async def _declare_again(self, until: float) -> None:
        """Declares the topology after a returned message, at most once per second and until ``until`` (loop time).

        Does nothing if another call has declared it in the meantime.
        """
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
        except TopologyMismatch as mismatch:
            # To repeat a publish cannot help until an operator has looked at the queue, and a new process declares it.
            self._connection.end(mismatch)
        except BROKER_FAILURES as exc:
            log.warning("declaration_failed", error=str(exc) or repr(exc))
