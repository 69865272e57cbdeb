"""Keeps one AMQP connection on the running event loop and reconnects by itself (after 0.5 to 15 s, full jitter)."""

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
from shared.logs import log_death
from shared.metrics import Metrics
from shared.settings.addresses import amqp_urls

log = structlog.get_logger(__name__)

State = Literal["up", "down", "blocked"]
#: the purpose of a connection, as its metrics name it
Use = Literal["consume", "publish", "operate"]
#: bounds of the wait before the next try, seconds
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.5, 15.0
#: longest wait until a connection is open, seconds: for the first try, and the upper bound for later tries. Behind a
#: load balancer the first try may reach an unresponsive node, and the next try a healthy one
CONNECT_FIRST_S, CONNECT_CAP_S = 3.0, 10.0
#: the same for the first try at each of several hosts: an unresponsive one must not use up a caller's whole patience
CONNECT_NEXT_HOST_S = 1.0
#: AMQP heartbeat interval, both ways, seconds. An unresponsive broker is detected after 1.5 intervals; the broker
#: closes the connection of a process that is unresponsive for two intervals
HEARTBEAT_S = 5
#: longest wait for the broker's answer to a close, seconds
GOODBYE_S = 2.0
#: time between two checks for a silent broker, seconds
LOOK_EVERY_S = 0.5
#: a broker that sends no byte for this many heartbeat intervals counts as silent
SILENT_INTERVALS = 1.5

#: errors that can end a connection or its preparation
_FAILURES: tuple[type[Exception], ...] = (*BROKER_FAILURES, OSError)


class Connection:
    """Connects to RabbitMQ, prepares each fresh connection, and connects again after each loss.

    ``url`` may name several hosts (``amqp_urls``). They are tried in turn, from the first on: after a failure and after
    a loss the next one is tried, and the wait grows only after each of them has failed.

    ``declare`` declares the topology. The first connection counts as up only after it; on each later connection it runs
    while the connection is already in use, because a cluster with an unresponsive node delays every bind until it
    counts that node as down (measured). ``on_ready`` opens what each fresh connection needs before it counts as up;
    ``on_lost`` is called after each loss.

    The keeper is the task behind ``start`` that connects again after each loss. A TopologyMismatch from ``declare``
    ends it for good, because reconnecting cannot help. It logs every other error and tries again; an unexpected error
    is logged with its traceback and counted (``notify_broker_errors_total``). ``watch`` raises the error that ended the
    keeper: a process runs it beside its other tasks, so that it never waits for a connection that nothing keeps.
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
        self._hosts = [_parameters(each, name, self._heartbeat_s) for each in amqp_urls(url)]
        self._name = name
        self._declare = declare
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._raw: WireConnection | None = None
        self._gone: asyncio.Event = asyncio.Event()
        self._up = asyncio.Event()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._mismatch: TopologyMismatch | None = None
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
        return "blocked" if self.blocked else "up"

    @property
    def blocked(self) -> bool:
        """Tells whether a resource alarm keeps the broker from reading what is published on this connection."""
        return not self._unblocked.is_set()

    def start(self) -> None:
        """Starts to connect in the background, and returns at once."""
        self._failed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(), name=f"amqp {self._name}")

    async def wait_up(self) -> None:
        """Returns once the connection is open and prepared."""
        await self._up.wait()

    async def wait_unblocked(self) -> None:
        """Returns once the broker reads what is published. What was written before that would be stored after an alarm,
        long after its publisher has given it up.
        """
        await self._unblocked.wait()

    async def wait_failed(self) -> TopologyMismatch:
        """Waits until a TopologyMismatch has ended the keeper, and returns it; usually that never happens.

        Raises the error of a keeper that ended in any other way.
        """
        if self._failed is None:
            raise RuntimeError("start() first")
        return await asyncio.shield(self._failed)

    async def watch(self) -> NoReturn:
        """Runs until it is cancelled. Raises the TopologyMismatch, or another error, that has ended the keeper."""
        raise await self.wait_failed()

    async def channel(self, on_closed: Callable[[ChannelGone], None] | None = None) -> AmqpChannel:
        """Opens a channel. Raises ChannelGone if the connection is not open, TimeoutError if the broker is silent.

        A channel that opens only after that deadline is closed: nothing would use it, and the broker limits how many a
        connection may have.
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
        """Closes the connection for good. Its unacked messages return to their queues."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._hang_up()
        if self._watch is not None:
            self._watch.cancel()

    def drop(self) -> None:
        """Aborts the present connection, as if the network had cut it; the keeper then opens a fresh one."""
        if self._raw is not None:
            self._raw.abort("dropped by the client")

    def end(self, mismatch: TopologyMismatch) -> None:
        """Ends the keeper for good with a mismatch that was found later on this connection, not by ``declare``."""
        self._mismatch = mismatch
        self.drop()

    async def _keep(self) -> None:
        failed = self._failed
        try:
            await self._reconnect_indefinitely()
        except TopologyMismatch as exc:
            log.error("topology_mismatch", connection=self._name, error=str(exc))
            await self._hang_up()
            if failed is not None and not failed.done():
                failed.set_result(exc)
        except Exception as exc:
            # An error of one connection does not get here, only an error of the keeper itself.
            log.exception("connection_keeper_ended", connection=self._name)
            if failed is not None and not failed.done():
                failed.set_exception(exc)

    async def _reconnect_indefinitely(self) -> None:
        """Connects, serves, and connects again after each loss. Raises TopologyMismatch."""
        # ``tries`` counts the failures in a row, ``turn`` every try.
        tries, turn, declared = 0, 0, False
        while True:
            host = self._hosts[turn % len(self._hosts)]
            first_s = CONNECT_FIRST_S if len(self._hosts) == 1 else CONNECT_NEXT_HOST_S
            try:
                if self._mismatch is not None:
                    raise self._mismatch
                await self._connect(host, min(CONNECT_CAP_S, first_s * 2.0 ** min(tries // len(self._hosts), 10)))
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
                error = str(exc) or repr(exc)
                log.warning("broker_unreachable", connection=self._name, host=host.host, error=error, tries=tries)
                await self._hang_up()
            except Exception:
                self._count_error()
                log.exception("connection_failed_unexpectedly", connection=self._name, tries=tries)
                await self._hang_up()
            await asyncio.sleep(backoff_s(tries // len(self._hosts), random.random()))
            tries, turn = tries + 1, turn + 1

    async def _serve(self, declare: Callable[[], Awaitable[None]] | None) -> None:
        """Counts as up, and returns when the connection is closed. Raises TopologyMismatch."""
        self._up.set()
        log.info("broker_connected", connection=self._name)
        if declare is not None:
            # If this fails, a missing queue or exchange is noticed later, by a returned message or a closed channel,
            # and is declared then.
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

    async def _connect(self, parameters: URLParameters, within_s: float) -> None:
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gone = self._gone = asyncio.Event()
        self._unblocked.set()

        def failed(_raw: Any, error: BaseException | str) -> None:
            if not opened.done():
                opened.set_exception(ConnectionError(_describe(error)))
            gone.set()

        self._raw = raw = WireConnection(
            parameters,
            on_open_callback=partial(_resolve, opened),
            on_open_error_callback=failed,
            on_close_callback=failed,
        )
        raw.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        raw.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        async with asyncio.timeout(within_s):
            await opened
        self._watch = asyncio.create_task(self._abort_in_silence(raw, gone), name=f"silence {self._name}")
        self._watch.add_done_callback(log_death)

    async def _abort_in_silence(self, raw: WireConnection, gone: asyncio.Event) -> None:
        """Aborts the connection once the broker is silent; an unresponsive broker would not answer a proper close."""
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
        if blocked:
            self._unblocked.clear()
        else:
            self._unblocked.set()
        log.warning("broker_blocked" if blocked else "broker_unblocked", connection=self._name)

    async def _hang_up(self) -> None:
        raw, self._raw = self._raw, None
        self._up.clear()
        if raw is None or raw.is_closed:
            return
        # This closes also a connection that is still being opened: otherwise its socket would stay open until pika's
        # own connection timeout.
        if not raw.is_closing:
            raw.close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._gone.wait()
        except TimeoutError:
            raw.abort("the broker did not answer the close")


async def silence(received: Callable[[], int], heartbeat_s: float) -> None:
    """Returns once ``received()``, a count of bytes, has not grown for one and a half heartbeat intervals.

    This detects a frozen broker, whose kernel keeps the connection open and accepts all that is written. RabbitMQ sends
    at least one frame in each heartbeat interval on every connection. A request to the broker would prove nothing:
    under a memory alarm, or while a queue without a leader holds back hundreds of publishes, a healthy broker does not
    read. pika checks only once per interval and waits five seconds more, which takes 25 s with an interval of 10 s.

    Checks are counted, not seconds: a process that was itself frozen for a minute has checked once, and it reads the
    bytes that came in the meantime before it checks again.
    """
    enough = round(SILENT_INTERVALS * heartbeat_s / LOOK_EVERY_S)
    silent, before = 0, received()
    while silent < enough:
        await asyncio.sleep(LOOK_EVERY_S)
        now = received()
        silent = silent + 1 if now == before else 0
        before = now


def backoff_s(tries: int, draw: float) -> float:
    """Returns the wait before the next try, in seconds, with full jitter.

    It is the part ``draw``, in [0, 1), of 0.5 s doubled ``tries`` times (at most 15 s), and at least 0.05 s.
    """
    ceiling = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(tries, 10))
    return max(0.05, draw * ceiling)


def _close_unwanted(opening: PikaChannel) -> None:
    """Closes a channel that nothing waits for any more; one that is still being opened is closed once it is open."""
    if not (opening.is_closed or opening.is_closing):
        opening.close()


def _resolve(waiter: asyncio.Future[Any], value: Any) -> None:
    if not waiter.done():
        waiter.set_result(value)


def _parameters(url: str, name: str, heartbeat_s: int) -> URLParameters:
    parameters = URLParameters(url)
    parameters.heartbeat = heartbeat_s
    # A blocked connection is kept: the broker still sends its heartbeats, and ``silence`` drops it if it does not.
    parameters.blocked_connection_timeout = None
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
