"""Builds and runs a worker process: ``python -m services.<channel>`` starts here.

Its tasks run in one TaskGroup: the worker with its consuming connection, the task that keeps the publishing connection
open, and the heartbeat. If a task dies, the process ends with its traceback and exit code 1, and the supervisor starts
another process. The HTTP server has no task that could die: it listens before the others start, and answers an error
with 500.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import structlog
import uvloop

from shared.broker.publisher import Publisher
from shared.delivery.delivery import Delivery
from shared.delivery.sender import Sender
from shared.errors import BadSettings, RedisUnavailable, TopologyMismatch
from shared.health.heartbeat import Heartbeat
from shared.health.registry import WorkerState
from shared.health.server import WorkerHttp
from shared.idempotency.claims import Claims
from shared.logs import complain, configure_logs, count_lost_lines
from shared.metrics import Metrics
from shared.process.collector import calm_collector
from shared.process.open_files import raise_file_limit
from shared.providers.failover import Providers
from shared.providers.urls import Builder, providers_for
from shared.redis.client import async_client, check_durable
from shared.settings.load import load_settings
from shared.settings.settings import Settings
from shared.templates.library import HttpLibrary, Library
from shared.users.directory import Directory, HttpDirectory
from shared.worker.forwards import Forwards
from shared.worker.handler import Handler
from shared.worker.pause import Blockers
from shared.worker.recorder import Recorder
from shared.worker.settler import Settler
from shared.worker.status import Status
from shared.worker.worker import Worker, build_worker

log = structlog.get_logger(__name__)

#: Distance between the ports of two successive replicas of a channel.
PORTS_BETWEEN_REPLICAS = 10
#: a further task of the process
Beside = Callable[[], Coroutine[Any, Any, None]]
_NOTHING: Mapping[str, Beside] = {}


def run_channel(channel: str, builders: Mapping[str, Builder]) -> NoReturn:
    """Runs one worker until SIGTERM or SIGINT.

    Exits with 0 after a stop, with 1 if a task died (with its traceback) or if RabbitMQ has a queue with other
    arguments, with 2 on bad settings.
    """
    run_process(channel, lambda settings: serve(channel, builders, settings, Metrics()))


def run_process(channel: str, main: Callable[[Settings], Coroutine[Any, Any, None]]) -> NoReturn:
    """Runs ``main``, which serves one channel, with the settings. It exits like ``run_channel``."""
    try:
        settings = load_settings()
        configure_logs(f"services.{channel}", settings.system.log_level, settings.system.log_format)
        raise_file_limit()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(settings))
    except BadSettings as exc:
        complain(*(f"{name}: {why}" for name, why in exc.problems))
        sys.exit(2)
    except TopologyMismatch as exc:
        complain(f"RabbitMQ has queues or exchanges with other arguments; they are unchanged:\n{exc}")
        sys.exit(1)
    sys.exit(0)


async def serve(
    channel: str,
    builders: Mapping[str, Builder],
    settings: Settings,
    metrics: Metrics,
    *,
    beside: Mapping[str, Beside] = _NOTHING,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Builds one worker and runs it. Raises BadSettings, TopologyMismatch, or the error of a task that died.

    ``beside``: further tasks of the process, by name. They are cancelled when the worker has stopped. ``on_stop`` is
    called on SIGTERM or SIGINT, when the worker begins to stop.
    """
    name = f"{channel}@{socket.gethostname()}:{os.getpid()}"
    count_lost_lines(metrics.log_lines_lost.inc)
    policy = settings.breaker
    async with AsyncExitStack() as stack:
        providers = Providers.of(channel, providers_for(channel, builders, settings), policy, metrics)
        await providers.open()
        stack.push_async_callback(providers.close)
        redis = async_client(settings.redis.url)
        stack.push_async_callback(redis.aclose)
        await _check_redis(redis, settings)
        claims = await stack.enter_async_context(
            Claims(
                settings.redis.url,
                lease_s=settings.idempotency.lease_s,
                ttl_s=settings.idempotency.done_ttl_s,
                metrics=metrics,
            )
        )
        directory = await stack.enter_async_context(HttpDirectory(settings, metrics))
        templates = await stack.enter_async_context(HttpLibrary(settings, metrics))
        publisher = _publisher(channel, settings, name, metrics)
        publisher.start()
        stack.push_async_callback(publisher.close)

        worker = assemble(
            channel,
            settings,
            providers=providers,
            claims=claims,
            directory=directory,
            templates=templates,
            publisher=publisher,
            metrics=metrics,
            name=name,
        )
        sources = {"users": directory.breaker, "templates": templates.breaker}
        status = Status(channel, worker, providers, publisher, sources)
        http = _http(status, settings, metrics)
        await http.start()
        stack.push_async_callback(http.stop)
        state = WorkerState(redis, channel, name, settings.worker.heartbeat_s)
        heartbeat = Heartbeat(state, settings.worker.heartbeat_s, status.beat, status.apply)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            on_stop()
            worker.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        log.info("worker_started", channel=channel, providers=list(providers.states()))
        calm_collector()
        await supervise(worker, publisher, heartbeat, beside)
        log.info("worker_stopped", channel=channel)


async def supervise(
    worker: Worker,
    publisher: Publisher,
    heartbeat: Heartbeat,
    beside: Mapping[str, Beside] = _NOTHING,
) -> None:
    """Runs the tasks of this process until the worker has stopped.

    Raises the error of the first task that died, after the worker has finished its messages in flight.
    """
    try:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(_named("publishing connection", publisher.connection.watch()))]
            keepers += [group.create_task(_named(task, run())) for task, run in beside.items()]
            group.create_task(_named("heartbeat", heartbeat.run()))
            try:
                await _named("worker", worker.run())
            finally:
                # A cancellation alone may not end the heartbeat (see Heartbeat.stop), and would not remove its entry.
                heartbeat.stop()
                for keeper in keepers:
                    keeper.cancel()
    except ExceptionGroup as died:
        raise died.exceptions[0] from None


async def _named(task: str, work: Awaitable[None]) -> None:
    """Runs one task, and logs its death at once, because the worker takes up to SHUTDOWN_S to finish."""
    try:
        await work
    except Exception as exc:
        log.error("task_died", task=task, error=str(exc) or repr(exc))
        raise


def assemble(
    channel: str,
    settings: Settings,
    *,
    providers: Providers,
    claims: Claims,
    directory: Directory,
    templates: Library,
    publisher: Publisher,
    metrics: Metrics,
    name: str,
) -> Worker:
    """Builds the worker and its rule book from collaborators that are open already."""
    # With "proceed", a worker that continues without Redis does not wait for it either.
    proceed = settings.idempotency.on_redis_down == "proceed"
    recorder = Recorder(claims, metrics, 0.0 if proceed else settings.idempotency.record_patience_s, proceed=proceed)
    # Lives end by Redis' clock: this machine's may be wrong.
    clock_ms = claims.now_ms
    sender = Sender(channel, providers, metrics, clock_ms)
    policy = settings.channels[channel].retry
    delivery = Delivery(channel, sender, directory, templates, recorder, policy, clock_ms=clock_ms)
    forwards = Forwards(channel, metrics)
    settler = Settler(channel, publisher, recorder, forwards, metrics, settings.broker.retry_levels_s, clock_ms)
    handler = Handler(channel, delivery, claims, settler, settings, metrics)
    blockers = Blockers(providers, directory, templates, claims)
    return build_worker(channel, settings, handler, forwards, blockers, metrics, name)


def _http(status: Status, settings: Settings, metrics: Metrics) -> WorkerHttp:
    own = settings.channels[status.channel]
    port = own.port + PORTS_BETWEEN_REPLICAS * settings.worker.replica
    return WorkerHttp(settings.worker_listen_host, port, f"{status.channel.upper()}_PORT", status.health, metrics)


def _publisher(channel: str, settings: Settings, name: str, metrics: Metrics) -> Publisher:
    return Publisher(
        settings.broker.url,
        f"{name} publishes",
        levels_s=settings.broker.retry_levels_s,
        deadline_s=settings.broker.publish_deadline_s,
        max_pending=settings.broker.publish_max_pending,
        channels=(channel,),
        metrics=metrics,
    )


async def _check_redis(redis: Any, settings: Settings) -> None:
    try:
        await check_durable(redis, production=settings.production)
    except RedisUnavailable as exc:
        # Redis may start later than this process: the worker pauses until then.
        log.warning("redis_not_checked", error=str(exc))
