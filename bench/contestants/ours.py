"""Runs the product's own processes with every feature on, started as an operator would, through settings alone."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pika
from pika import DeliveryMode

from bench import earlier
from bench.arena import Arena
from bench.envelopes import body
from bench.processes import ROOT, Child, listens, wait_until
from shared.broker import topology
from shared.broker.connection import Connection
from shared.broker.declaration import Declaration
from shared.clock import now_ms, rfc3339
from shared.message.channels import CHANNELS, Lane, Priority
from shared.message.headers import DeliveryState
from shared.metrics import Metrics
from shared.settings.load import load_settings
from shared.store import schema
from shared.store.database import Database

REPLICAS = 2
GATEWAY_PROCESSES = 2
_START_S = 60.0
_DECLARE_S = 30.0
_PORT_STEP = 10  # replica i of a worker listens on its channel's port + 10 i


@dataclass(frozen=True)
class Ours:
    """Runs the push worker of ``tree``, a checkout of this repository, as a contestant."""

    name: str = "ours"
    queue: str = "push.queue"
    tree: Path = ROOT

    def fill(self, arena: Arena, count: int, run: str) -> None:
        fill_lane(arena, Lane("push", "medium"), count, run)

    def start(self, arena: Arena) -> list[Child]:
        return start_workers(arena, "push", REPLICAS, tree=self.tree)


def declare(arena: Arena) -> None:
    """Declares exchanges and queues with the product's own function."""
    asyncio.run(_declare(arena.servers.amqp_url))


def fill_lane(arena: Arena, lane: Lane, count: int, run: str) -> None:
    """Publishes ``count`` envelopes to the lane, with the headers and properties that the gateway writes."""
    declare(arena)
    with pika.BlockingConnection(pika.URLParameters(arena.servers.amqp_url)) as connection:
        channel = connection.channel()
        for index in range(count):
            request_id = f"{lane.routing_key}-{run}-{index}"
            accepted_ms = now_ms()
            properties = pika.BasicProperties(
                content_type="application/json",
                delivery_mode=DeliveryMode.Persistent,
                message_id=request_id,
                correlation_id=request_id,
                timestamp=accepted_ms // 1000,
                headers=DeliveryState(accepted_at=rfc3339(accepted_ms)).to_headers(),
            )
            envelope = body(request_id, lane.channel, lane.priority)
            channel.basic_publish(topology.EXCHANGE, lane.routing_key, envelope, properties)


def queue(channel: str, priority: Priority = "medium") -> str:
    return Lane(channel, priority).queue


def start_gateway(arena: Arena, tree: Path = ROOT) -> Child:
    """Starts the gateway of ``tree``, a checkout of this repository; returns once it listens."""
    child = _start(arena, "gateway", "gateway", {"GATEWAY_PROCESSES": str(GATEWAY_PROCESSES)}, tree)
    wait_until(lambda: listens(arena.ports.gateway), "our gateway listens", _START_S, [child])
    return child


def start_workers(
    arena: Arena, channel: str, replicas: int, provider_port: int | None = None, tree: Path = ROOT
) -> list[Child]:
    """Starts ``replicas`` processes of a channel's worker; its HTTP provider is nginx unless a port is given."""
    http_port = provider_port or arena.ports.provider
    providers = {
        "PUSH_PROVIDERS": f"fcm://127.0.0.1:{http_port}/bench?tls=0",
        "EMAIL_PROVIDERS": f"smtp://127.0.0.1:{arena.ports.smtp}?from=bench@example.com",
        "SMS_PROVIDERS": f"twilio://bench:bench@127.0.0.1:{http_port}?from=%2B15005550006&tls=0",
    }
    if channel == "websocket":
        providers["DATABASE_URL"] = migrated(arena)
    return [
        _start(
            arena, f"{channel}-{replica}", f"services.{channel}", {**providers, "NOTIFY_REPLICA": str(replica)}, tree
        )
        for replica in range(replicas)
    ]


def start_websocket(arena: Arena, settings: Mapping[str, str]) -> Child:
    """Starts one process of the websocket channel with these settings; its tables are there."""
    return _start(arena, "websocket", "services.websocket", {"NOTIFY_REPLICA": "0", **settings}, ROOT)


def migrated(arena: Arena, url: str = "") -> str:
    """Returns the address of a database with tables for the inboxes: of ``url``, or of a SQLite file."""
    url = url or f"sqlite:///{arena.directory}/inboxes.db"
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return url


def wait_for_workers(arena: Arena, channel: str, workers: list[Child]) -> None:
    """Returns once each worker listens on its health port."""
    first = arena.ports.worker(list(CHANNELS).index(channel))
    for replica in range(len(workers)):
        wait_until(lambda port=first + _PORT_STEP * replica: listens(port), f"{channel} listens", _START_S, workers)  # type: ignore[misc]


def _start(arena: Arena, name: str, module: str, more: Mapping[str, str], tree: Path) -> Child:
    settings = {
        "NOTIFY_ENV": "development",
        "RABBITMQ_URL": arena.servers.amqp_url,
        "REDIS_URL": arena.servers.redis_url,
        "TEMPLATE_ENDPOINT": f"{arena.provider.url}/templates",
        "GATEWAY_PORT": str(arena.ports.gateway),
        "SOCKET_PORT": str(arena.ports.sockets),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        **{f"{channel.upper()}_PORT": str(arena.ports.worker(index)) for index, channel in enumerate(CHANNELS)},
        **more,
    }
    return Child(name, [earlier.python_of(tree), "-m", module], arena.log(name), settings, tree)


async def _declare(url: str) -> None:
    connection = Connection(url, "bench", heartbeat_s=60)
    connection.start()
    try:
        async with asyncio.timeout(_DECLARE_S):
            await connection.wait_up()
            # An earlier version may take part, and refuses an exchange that has an alternate exchange.
            channel = await connection.channel()
            await channel.call(
                channel.raw.exchange_declare, exchange=topology.EXCHANGE, exchange_type="direct", durable=True
            )
            levels_s = load_settings().broker.retry_levels_s
            await Declaration(connection, levels_s, CHANNELS, Metrics()).declare()
    finally:
        await connection.close()
