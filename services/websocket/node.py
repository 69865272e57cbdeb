"""Builds and runs the half of the process that serves devices.

Any number of nodes may run, and a device may connect to any of them: nothing that it needs is in a node's memory. The
tasks of a node run until the process is told to stop; it drains then, and each device is told when to come back.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from services.websocket.adapters import RedisSubscriptions, StoreReader
from services.websocket.desk import Desk
from services.websocket.door import Door
from services.websocket.hub import Hub
from services.websocket.parts import SLOTS, Connection, Parts
from services.websocket.seats import Seat, Seats
from services.websocket.socket_metrics import SocketMetrics
from services.websocket.transport.front import Front
from services.websocket.transport.http import Http
from services.websocket.transport.socket import Socket
from services.websocket.transport.sse import Events
from shared.errors import BadSettings, RedisUnavailable, StoreUnavailable
from shared.logs import log_death
from shared.metrics import Metrics
from shared.process.open_files import file_limit
from shared.realtime.close_codes import INTERNAL, RESTART
from shared.realtime.presence import BEAT_S, RENEWED_EVERY_S, Presence, kicked, node_channel
from shared.realtime.wakeup import WakeUps, owner_of, parse
from shared.redis.batch import Batcher
from shared.redis.subscriber import Subscriber
from shared.settings.settings import Settings
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import Owner

log = structlog.get_logger(__name__)

#: Distance between the ports of two successive replicas.
PORTS_BETWEEN_REPLICAS = 10
#: Files that a process needs besides the connections of its devices, and the most connections that it takes.
_OTHER_FILES, _MOST_CONNECTIONS = 512, 50_000
#: How long wake-ups may be on their way when positions are compared, seconds.
_SETTLE_S = 1.0
#: How often acknowledgements are written, seconds.
_FLUSH_S = 1.0
#: A device whose node stops comes back after a random time up to this, milliseconds.
_COME_BACK_MS = 5_000
#: How long a stopping node waits for the closing handshakes, seconds.
_HANG_UP_S = 3.0


class Node:
    """Serves devices. ``start`` listens, ``run`` returns once it has drained."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        threads: StoreThreads,
        redis: Batcher,
        wake_ups: WakeUps,
        metrics: Metrics,
    ) -> None:
        if settings.production and settings.socket_auth == "open":
            raise BadSettings([("SOCKET_AUTH", "must not be open in production: anybody could read any inbox")])
        self.name = secrets.token_hex(6)
        self._settings = settings
        self._metrics = SocketMetrics(metrics.registry)
        self._state = "open"
        self._tasks: set[asyncio.Task[Any]] = set()
        sockets = settings.sockets
        self._channel = node_channel(self.name)
        self._subscriber = Subscriber(settings.redis.url, self._heard, self._restored)
        self._reader = StoreReader(store, threads, wake_ups)
        self.hub = Hub(self._reader, RedisSubscriptions(self._subscriber), self._metrics)
        self._presence = Presence(redis, self.name, sockets.per_user)
        self._seats = Seats(self._presence, sockets.per_user, self._metrics, self._seats_of)
        self._desk = Desk(store, threads, wake_ups)
        self._parts = Parts(
            hub=self.hub,
            door=Door(settings, redis),
            seats=self._seats,
            desk=self._desk,
            metrics=self._metrics,
            ping_s=sockets.ping_s,
            run=self._background,
        )
        self._http = Http(self._parts, self.health, metrics.render)
        self._port = sockets.port + PORTS_BETWEEN_REPLICAS * settings.worker.replica
        most = max(1, min(file_limit() - _OTHER_FILES, _MOST_CONNECTIONS))
        self._front = Front(settings.socket_host, self._port, self._parts, self._http.server, most)

    @property
    def port(self) -> int:
        return self._front.port

    async def start(self) -> None:
        """Listens. Raises BadSettings if it cannot, or if the tables of the database do not fit (SchemaMismatch)."""
        try:
            await self._reader.check()
        except StoreUnavailable as exc:
            # Until it is there, devices are told to come back later.
            log.warning("store_not_checked", error=str(exc))
        await self._front.start()
        log.info("node_started", node=self.name, port=self.port, auth=self._settings.socket_auth)

    async def run(self, stop: asyncio.Event) -> None:
        """Serves devices until ``stop`` is set, and drains then. Raises the error of a task that died."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._work()]
                await stop.wait()
                await self._drain()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as died:
            self._front.stop_listening()
            for connection in list(self._parts.connections):
                connection.end(INTERNAL)
            raise died.exceptions[0] from None
        log.info("node_stopped", node=self.name)

    def health(self) -> dict[str, Any]:
        """Returns the document of ``/health``."""
        connected = self._subscriber.connected
        return {
            "status": "healthy" if connected else "degraded",
            "state": self._state,
            "node": self.name,
            "redis": "up" if connected else "down",
            "connections": len(self._parts.connections),
            "users": len(self.hub.owners),
        }

    # -- What runs all the time --------------------------------------------------------------------------------------

    def _work(self) -> Iterable[Coroutine[Any, Any, None]]:
        yield self._listen()
        yield self._beat()
        yield self._check()
        yield self._visit()
        yield self._flush()

    async def _listen(self) -> None:
        await self._subscriber.subscribe(self._channel)
        await self._subscriber.run()

    async def _beat(self) -> None:
        """Writes the heartbeat. If it finds none of its own, others may have dropped this node's connections."""
        first = True
        while True:
            try:
                if not await self._presence.beat(self._document()) and not first:
                    log.warning("node_was_forgotten", node=self.name, connections=len(self._seats))
                    await self._seats.register_all()
                    self.hub.restored()
                first = False
            except RedisUnavailable as exc:
                log.warning("node_not_registered", error=str(exc))
            await asyncio.sleep(BEAT_S)

    async def _check(self) -> None:
        """Compares positions, and looks for connections that are not registered any more."""
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.sockets.position_check_s * random.uniform(0.8, 1.2))
            try:
                await self._reader.check()
                lost = await self.hub.check(lambda: asyncio.sleep(_SETTLE_S))
            except StoreUnavailable as exc:
                log.warning("positions_not_compared", error=str(exc))
            else:
                if lost:
                    log.warning("wakeups_lost", devices=lost)
            self._metrics.users.set(len(self.hub.owners))
            if time.monotonic() - renewed_at > RENEWED_EVERY_S:
                renewed_at = time.monotonic()
                await self._seats.register_all()
            else:
                await self._seats.register_lost()

    async def _visit(self) -> None:
        """Visits each connection once every SOCKET_PING_S, a part of them at a time."""
        slot = 0
        while True:
            await asyncio.sleep(self._settings.sockets.ping_s / SLOTS)
            slot = (slot + 1) % SLOTS
            self._visit_all(slot)

    def _visit_all(self, slot: int) -> None:
        now = time.monotonic()
        for connection, own_slot in list(self._parts.connections.items()):
            connection.look(now)
            if own_slot == slot:
                connection.beat()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self._desk.flush()

    # -- What others say ---------------------------------------------------------------------------------------------

    def _heard(self, channel: bytes, message: bytes) -> None:
        if channel == self._channel:
            connection = kicked(message)
            if connection is not None:
                self._seats.kick(connection)
            return
        began = time.perf_counter()
        try:
            wakeup = parse(message)
        except ValueError:
            # The next check of positions finds what it was to tell.
            log.warning("wakeup_unreadable")
            return
        self.hub.hear(owner_of(channel.decode()), wakeup)
        self._metrics.fanout_seconds.observe(time.perf_counter() - began)

    def _restored(self) -> None:
        self.hub.restored()

    def _seats_of(self, owner: Owner) -> list[Seat]:
        devices = [session.device for session in self.hub.sessions_of(owner)]
        return [device for device in devices if isinstance(device, Socket | Events)]

    def _document(self) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "port": self.port,
            "connections": len(self._seats),
            "state": self._state,
        }

    # -- The end -----------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Closes every connection, each at a random moment and with a random time to come back."""
        self._state = "draining"
        log.info("node_drains", node=self.name, connections=len(self._parts.connections))
        self._front.stop_listening()
        try:
            await self._presence.beat(self._document())
        except RedisUnavailable as exc:
            log.warning("node_not_registered", error=str(exc))
        drain_s = self._settings.sockets.drain_s
        loop = asyncio.get_running_loop()
        began = loop.time()
        moments = sorted(
            ((random.uniform(0, drain_s), connection) for connection in self._parts.connections),
            key=lambda one: one[0],
        )
        for moment, connection in moments:
            await asyncio.sleep(max(0.0, began + moment - loop.time()))
            self._send_back(connection)
        while (self._parts.connections or self._parts.closing) and loop.time() < began + drain_s + _HANG_UP_S:
            # A request whose head was read when the listening ended may still have become a connection.
            for connection in list(self._parts.connections):
                self._send_back(connection)
            await asyncio.sleep(0.05)
        await self._http.server.shutdown(timeout=1)
        await self._desk.flush()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        await self._seats.settled(1)
        try:
            await self._presence.leave()
        except RedisUnavailable as exc:
            log.warning("node_not_removed", error=str(exc))

    @staticmethod
    def _send_back(connection: Connection) -> None:
        connection.end(RESTART, random.randint(0, _COME_BACK_MS))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_death)
