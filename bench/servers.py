"""Runs the private RabbitMQ and Redis of a measurement, as the contestants see them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika
import redis
from pika.exceptions import ChannelClosedByBroker

from bench.errors import BenchFailed
from bench.ports import Ports
from ops.errors import OpsError
from ops.processes import Identity
from ops.servers import RabbitMQPorts, RabbitMQServer, RedisServer


@dataclass(frozen=True)
class Servers:
    amqp_url: str
    redis_url: str
    rabbitmq_pid: int
    redis_pid: int

    def depth(self, queue: str) -> int:
        """Returns the number of messages ready in ``queue``; 0 if there is no such queue."""
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
            except ChannelClosedByBroker as closed:
                if closed.reply_code == 404:
                    return 0
                raise

    def forget(self, *queues: str) -> None:
        """Empties Redis and deletes ``queues``, so that the next contestant finds nothing."""
        with redis.Redis.from_url(self.redis_url) as store:
            store.flushall()
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            channel = connection.channel()
            for queue in queues:
                channel.queue_delete(queue)


@contextmanager
def running(directory: Path, ports: Ports) -> Iterator[Servers]:
    """Runs both servers, empty, their data under ``directory``; ends them afterwards.

    Raises BenchFailed if one is not installed or does not start.
    """
    listeners = RabbitMQPorts(ports.amqp, ports.management, ports.erlang, ports.epmd)
    rabbitmq = RabbitMQServer(directory / "rabbitmq", listeners)
    store = RedisServer(directory / "redis", port=ports.redis)
    with ExitStack() as stack:
        for server in (store, rabbitmq):
            stack.callback(server.stop)
            try:
                server.start()
            except OpsError as failed:
                raise BenchFailed(str(failed)) from failed
        yield Servers(rabbitmq.url, store.url, _pid(rabbitmq.identity()), _pid(store.identity()))


def _pid(identity: Identity | None) -> int:
    if identity is None:
        raise BenchFailed("a private server ended right after its start")
    return identity.pid
