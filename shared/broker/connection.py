"""One AMQP connection on the running loop that comes back by itself (0.5 to 15 s, full jitter)."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, NoReturn

import structlog
from pika import URLParameters
from pika.channel import Channel as PikaChannel

from shared.broker.channel import BROKER_FAILURES, RPC_DEADLINE_S, AmqpChannel, ChannelGone
from shared.broker.pika_patches import WireConnection
from shared.errors import TopologyMismatch
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

State = Literal["up", "down", "blocked"]
#: the purpose of a connection, as its metrics name it
Use = Literal["consume", "publish", "operate"]
#: bounds of the wait before the next try, seconds
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.5, 15.0
#: longest wait until a connection is open, seconds: the first try, and the longest of those that follow. Behind a
#: balancer the first may meet a node that stands still, and the next a better one
CONNECT_FIRST_S, CONNECT_CAP_S = 3.0, 10.0
#: an idle connection says something so often, both ways, seconds. Of a broker that stands still it is known after 1.5
#: of them; a process of ours that stands still for two is given up by the broker
HEARTBEAT_S = 5
#: longest wait for the broker's goodbye, seconds
GOODBYE_S = 2.0
#: time between two looks for a silent broker, seconds
LOOK_EVERY_S = 0.5
#: a broker that sends no byte for this many heartbeat intervals counts as silent
SILENT_INTERVALS = 1.5

#: what a connection, or its preparation, may end in
_FAILURES: tuple[type[Exception], ...] = (*BROKER_FAILURES, OSError)


class Connection:
    """``declare`` makes the topology: before the first connection counts as up, and beside the use of each later one,
    for a cluster of which a node stands still keeps whoever binds waiting until it counts that node as gone (measured).
    ``on_ready`` opens what each fresh connection needs before it counts as up; ``on_lost`` is told of each loss.

    The keeper is the task behind ``start`` that connects again after each loss. A TopologyMismatch from ``declare``
    ends it for good, because reconnecting cannot help. It logs every other error and tries again; an error that nothing
    here foresees is logged with its traceback and counted (``notify_broker_errors_total``). ``watch`` raises the error
    that ended the keeper: a process runs it beside its other tasks, so that it never waits for a connection that
    nothing keeps.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        use: Use = "operate",
        metrics: Metrics | None = None,
        heartbeat_s: int | None = None,
        declare: Callable[[], Awaitable[None]] | None = None,
        on_ready: Callable[[], Awaitable[None]] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._heartbeat_s = heartbeat_s or HEARTBEAT_S
        self._parameters = _parameters(url, name, self._heartbeat_s)
        self._name = name
        self._declare = declare
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._raw: WireConnection | None = None
        self._gone: asyncio.Event = asyncio.Event()
        self._up = asyncio.Event()
        self._blocked = False
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[TopologyMismatch] | None = None
        metrics = metrics or Metrics()
        self._count_lost = metrics.broker_lost.labels(use).inc
        self._count_error = metrics.broker_errors.labels(use).inc

    @property
    def state(self) -> State:
        if not self._up.is_set():
            return "down"
        return "blocked" if self._blocked else "up"

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._failed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(), name=f"amqp {self._name}")

    async def wait_up(self) -> None:
        """Return once the connection is open and prepared."""
        await self._up.wait()

    async def wait_failed(self) -> TopologyMismatch:
        """Return the TopologyMismatch for which this connection has been given up, if ever.

        Raises the error of a keeper that ended in any other way.
        """
        if self._failed is None:
            raise RuntimeError("start() first")
        return await asyncio.shield(self._failed)

    async def watch(self) -> NoReturn:
        """Run until cancelled. Raises the TopologyMismatch, or another error, that has ended the keeper."""
        raise await self.wait_failed()

    async def channel(self, on_closed: Callable[[ChannelGone], None] | None = None) -> AmqpChannel:
        """Open a channel. Raises ChannelGone if the connection is not open, TimeoutError if the broker is silent.

        A channel that opens only after that deadline is closed: nothing would use it, and it counts for the broker.
        """
        raw = self._raw
        if raw is None or not raw.is_open:
            raise ChannelGone(0, "no connection")
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        opening = raw.channel(on_open_callback=partial(_resolve, opened))
        gone = asyncio.create_task(self._gone.wait())
        wanted = False
        try:
            await asyncio.wait((opened, gone), timeout=RPC_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                wanted = True
                return AmqpChannel(opened.result(), on_closed)
            if gone.done():
                raise ChannelGone(0, "connection lost while a channel was opened")
            raise TimeoutError(f"no channel within {RPC_DEADLINE_S:g} s")
        finally:
            gone.cancel()
            if not wanted:
                _close_unwanted(opening)

    async def close(self) -> None:
        """Close for good. What was unacked returns to its queue."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._hang_up()
        if self._watch is not None:
            self._watch.cancel()

    def drop(self) -> None:
        """Give the present connection up, as if the network had cut it; a fresh one follows."""
        if self._raw is not None:
            self._raw.abort("dropped by the client")

    async def _keep(self) -> None:
        failed = self._failed
        try:
            await self._come_back_for_ever()
        except TopologyMismatch as exc:
            log.error("topology_mismatch", connection=self._name, error=str(exc))
            await self._hang_up()
            if failed is not None and not failed.done():
                failed.set_result(exc)
        except Exception as exc:
            # Not reached by an error of one connection, only by one of the keeper itself.
            log.exception("connection_keeper_ended", connection=self._name)
            if failed is not None and not failed.done():
                failed.set_exception(exc)

    async def _come_back_for_ever(self) -> None:
        """Raises TopologyMismatch."""
        tries, declared = 0, False
        while True:
            try:
                await self._connect(min(CONNECT_CAP_S, CONNECT_FIRST_S * 2.0 ** min(tries, 10)))
                first = not declared
                if self._declare is not None and first:
                    await self._declare()
                    declared = True
                if self._on_ready is not None:
                    await self._on_ready()
                tries = 0
                await self._serve(None if first else self._declare)
            except TopologyMismatch:
                raise
            except _FAILURES as exc:
                log.warning("broker_unreachable", connection=self._name, error=str(exc) or repr(exc), tries=tries)
                await self._hang_up()
            except Exception:
                self._count_error()
                log.exception("connection_failed_unexpectedly", connection=self._name, tries=tries)
                await self._hang_up()
            await asyncio.sleep(backoff_s(tries, random.random()))
            tries += 1

    async def _serve(self, declare: Callable[[], Awaitable[None]] | None) -> None:
        """Be up until the connection is gone. Raises TopologyMismatch."""
        self._up.set()
        log.info("broker_connected", connection=self._name)
        if declare is not None:
            # What is missing shows: a message is returned, a channel closed; then it is declared again.
            try:
                await declare()
            except TopologyMismatch:
                raise
            except _FAILURES as exc:
                log.warning("declaration_failed", connection=self._name, error=str(exc) or repr(exc))
            except Exception:
                self._count_error()
                log.exception("declaration_failed", connection=self._name)
        await self._gone.wait()
        self._up.clear()
        self._count_lost()
        log.warning("broker_lost", connection=self._name)
        if self._on_lost is not None:
            self._on_lost()

    async def _connect(self, within_s: float) -> None:
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gone = self._gone = asyncio.Event()
        self._blocked = False

        def failed(_raw: Any, error: BaseException | str) -> None:
            if not opened.done():
                opened.set_exception(ConnectionError(_describe(error)))
            gone.set()

        self._raw = raw = WireConnection(
            self._parameters,
            on_open_callback=partial(_resolve, opened),
            on_open_error_callback=failed,
            on_close_callback=failed,
        )
        raw.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        raw.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        async with asyncio.timeout(within_s):
            await opened
        self._watch = asyncio.create_task(self._abort_in_silence(raw, gone), name=f"silence {self._name}")

    async def _abort_in_silence(self, raw: WireConnection, gone: asyncio.Event) -> None:
        """Without a goodbye, for which a broker that stands still would keep us waiting."""
        ended = asyncio.create_task(gone.wait())
        silent = asyncio.create_task(silence(lambda: raw.heard_bytes, self._heartbeat_s))
        try:
            await asyncio.wait((ended, silent), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            silent.cancel()
        if not gone.is_set():
            log.warning("broker_silent", connection=self._name)
            raw.abort("the broker is silent")

    def _set_blocked(self, blocked: bool) -> None:
        self._blocked = blocked
        log.warning("broker_blocked" if blocked else "broker_unblocked", connection=self._name)

    async def _hang_up(self) -> None:
        raw, self._raw = self._raw, None
        self._up.clear()
        if raw is None or raw.is_closed:
            return
        # One that is still being opened too: given up without a close, its socket would stay open until its time is up.
        if not raw.is_closing:
            raw.close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._gone.wait()
        except TimeoutError:
            raw.abort("no goodbye")


async def silence(received: Callable[[], int], heartbeat_s: float) -> None:
    """Return once ``received()``, a count of bytes, has not grown for one and a half heartbeat intervals.

    It notices a frozen broker, whose kernel keeps the connection open and accepts what is written. RabbitMQ sends
    something in each heartbeat interval on every connection. A question would prove nothing: under a memory alarm, or
    while a queue without a leader holds back hundreds of publishes, a healthy broker does not read. pika looks only
    once per interval and waits five seconds more, which takes 25 s with an interval of 10 s.

    Looks are counted, not seconds: a process that was frozen itself for a minute has looked once, and it reads the
    bytes that came in the meantime before it looks again.
    """
    enough = round(SILENT_INTERVALS * heartbeat_s / LOOK_EVERY_S)
    silent, before = 0, received()
    while silent < enough:
        await asyncio.sleep(LOOK_EVERY_S)
        now = received()
        silent = silent + 1 if now == before else 0
        before = now


def backoff_s(tries: int, draw: float) -> float:
    """Full jitter: between nothing and 0.5 s doubled ``tries`` times, at most 15 s; ``draw`` is in [0, 1)."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(tries, 10))
    return max(0.05, draw * ceiling)


def _close_unwanted(opening: PikaChannel) -> None:
    """Close a channel that nothing waits for any more; one that is still being opened is closed once it is open."""
    if not (opening.is_closed or opening.is_closing):
        opening.close()


def _resolve(waiter: asyncio.Future[Any], value: Any) -> None:
    if not waiter.done():
        waiter.set_result(value)


def _parameters(url: str, name: str, heartbeat_s: int) -> URLParameters:
    parameters = URLParameters(url)
    parameters.heartbeat = heartbeat_s
    parameters.blocked_connection_timeout = 10
    parameters.socket_timeout = 5
    parameters.stack_timeout = 8
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": name}
    keepalive = {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
    }
    parameters.tcp_options = {key: value for key, value in keepalive.items() if hasattr(socket, key)}
    return parameters


def _describe(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    inner = getattr(error, "exceptions", None) or getattr(error, "exception", None)
    return f"{type(error).__name__}: {inner or error}"
