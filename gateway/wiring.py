"""Builds and connects everything that the gateway's routes need, in one place."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field

import redis
import structlog
import uvloop

from gateway.accept.acceptor import Acceptor
from gateway.accept.duplicates import AcceptedRecords
from gateway.accept.gate import Gate
from gateway.connections.guard import Guard
from gateway.connections.progress import Progress
from gateway.health.counts import AcceptedCounts
from gateway.health.report import Health
from gateway.health.store import StoreProbe
from gateway.health.workers import RedisReader
from gateway.inbox.inboxes import CONNECTIONS
from shared.broker.connection import Connection, State
from shared.broker.publisher import Publisher
from shared.broker.queue_depth import Sampler
from shared.errors import TopologyMismatch
from shared.process.open_files import file_limit
from shared.realtime.tokens import Tokens
from shared.realtime.wakeup import ThreadedWakeUps
from shared.redis.batch import Batcher
from shared.redis.client import sync_client
from shared.settings.settings import Settings
from shared.store.store import Store

#: How many requests of one process may wait for the broker at once; further ones are answered 503.
MAX_WAITING = 128
FAILED_EXIT = 1
#: Files of one process that are not connections of callers: servers, logs, metrics, and operators' scans.
OTHER_FILES = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Holds what the app is built from. Tests make their own."""

    acceptor: Acceptor
    health: Health
    counts: AcceptedCounts
    store: Store
    redis: redis.Redis
    wakeups: ThreadedWakeUps
    tokens: Tokens
    progress: Progress = field(default_factory=Progress)


def connect(settings: Settings) -> Parts:
    """Builds the real parts and starts the threads of the event loop and of the guard. Call it after fork."""
    sampler = Sampler()
    gate = Gate(sampler, queue_max_ready=settings.gateway.queue_max_ready, max_waiting=MAX_WAITING)
    records = AcceptedRecords(Batcher(settings.redis.url), settings.gateway.accepted_ttl_s)
    counts = AcceptedCounts()
    acceptor = Acceptor(
        records,
        gate,
        counts,
        publish_deadline_s=settings.broker.publish_deadline_s,
        phone_region=settings.recipients.phone_region,
    )
    background = Background(settings, acceptor, sampler)
    background.start()
    client = sync_client(settings.redis.url)
    reader = RedisReader(client, settings.worker.heartbeat_s)
    store = Store(settings.database.url, CONNECTIONS + 1)
    parts = Parts(
        acceptor,
        Health(lambda: background.broker, lambda: gate.silent, sampler, reader, StoreProbe(store)),
        counts,
        store,
        client,
        ThreadedWakeUps(client, counts.wakeups_failed),
        Tokens(settings.sockets.token_keys),
    )
    guard = Guard(
        settings.gateway.port,
        parts.progress,
        counts.cut,
        receive_s=settings.gateway.receive_s,
        most_connections=most_connections(settings),
    )
    guard.start()
    return parts


def most_connections(settings: Settings) -> int:
    """Returns how many connections one process accepts: the setting, or what the limit of open files leaves."""
    return max(1, min(settings.gateway.connections, file_limit() - OTHER_FILES))


class Background:
    """Runs the publisher, the acceptor and the depth sampler in one loop, in a thread of its own, as one TaskGroup.

    If one of them ends with an error, the process ends with its traceback in the log and exit code FAILED_EXIT, so
    that its supervisor starts another one: without all three, the process could only refuse callers.
    """

    def __init__(self, settings: Settings, acceptor: Acceptor, sampler: Sampler) -> None:
        self._settings, self._acceptor, self._sampler = settings, acceptor, sampler
        self._publisher: Publisher | None = None

    @property
    def broker(self) -> State:
        """Returns the state of the publisher's connection; "down" before the thread has started it."""
        return self._publisher.state if self._publisher is not None else "down"

    def start(self) -> None:
        """Starts the thread and returns at once."""
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except* TopologyMismatch as mismatch:
            # Waiting cannot help, and a traceback tells an operator nothing: an operator must look at the queue.
            log.error("gateway_stopped", error=str(mismatch.exceptions[0]))
        except* Exception:
            log.critical("background_task_failed", exc_info=True)
        finally:
            # sys.exit would end only this thread.
            os._exit(FAILED_EXIT)

    async def _serve(self) -> None:
        settings = self._settings
        self._publisher = publisher = Publisher(
            settings.broker.url,
            "gateway",
            levels_s=settings.broker.retry_levels_s,
            deadline_s=settings.broker.publish_deadline_s,
            max_pending=settings.broker.publish_max_pending,
        )
        publisher.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_raise_mismatch(publisher.connection), name="connection")
            tasks.create_task(self._acceptor.run(publisher), name="acceptor")
            tasks.create_task(self._sampler.run(publisher.connection), name="depth sampler")


async def _raise_mismatch(connection: Connection) -> None:
    """Raises TopologyMismatch if a queue exists with other arguments."""
    raise await connection.wait_failed()
