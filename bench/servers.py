"""A private RabbitMQ and a private Redis for the length of a measurement."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pika
import redis

from bench.errors import BenchFailed
from bench.ports import Ports
from bench.processes import Child, wait_until

_START_S = 60.0
# Debian's /usr/sbin/rabbitmq-server changes user and directories; the server itself lies here.
_RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass(frozen=True)
class Servers:
    amqp_url: str
    redis_url: str
    rabbitmq_pid: int
    redis_pid: int

    def depth(self, queue: str) -> int:
        """Messages ready in ``queue``; 0 if there is no such queue."""
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
            except pika.exceptions.ChannelClosedByBroker as closed:
                if closed.reply_code == 404:
                    return 0
                raise

    def forget(self, *queues: str) -> None:
        """Empty Redis and delete ``queues``, so that the next contestant finds nothing."""
        with redis.Redis.from_url(self.redis_url) as store:
            store.flushall()
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            channel = connection.channel()
            for queue in queues:
                channel.queue_delete(queue)


@contextmanager
def running(directory: Path, ports: Ports) -> Iterator[Servers]:
    """Both servers, empty, their data under ``directory``; ended by id, epmd included."""
    with ExitStack() as stack:
        redis_child = _start_redis(directory, ports, stack)
        rabbitmq_child = _start_rabbitmq(directory, ports, stack)
        yield Servers(
            amqp_url=f"amqp://guest:guest@127.0.0.1:{ports.amqp}/%2F?heartbeat=60",
            redis_url=f"redis://127.0.0.1:{ports.redis}/0",
            rabbitmq_pid=rabbitmq_child.pid,
            redis_pid=redis_child.pid,
        )


def _start_redis(directory: Path, ports: Ports, stack: ExitStack) -> Child:
    data = directory / "redis"
    data.mkdir()
    options = ["--bind", "127.0.0.1", "--port", str(ports.redis), "--dir", data, "--save", ""]
    durable = ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
    child = Child("redis", [_found("redis-server"), *options, *durable], directory / "redis.log")
    stack.callback(child.stop)
    store = redis.Redis(port=ports.redis, retry=None)
    stack.callback(store.close)
    wait_until(lambda: _answers(store), "redis", _START_S, [child])
    return child


def _start_rabbitmq(directory: Path, ports: Ports, stack: ExitStack) -> Child:
    home = directory / "rabbitmq"
    home.mkdir()
    (home / "enabled_plugins").write_text("[].\n")
    (home / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{ports.amqp}\nlog.console.level = warning\n")
    cookie = home / ".erlang.cookie"
    cookie.write_text(secrets.token_hex(20))
    cookie.chmod(0o400)
    env = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(ports.epmd),
        "RABBITMQ_NODENAME": f"bench{ports.amqp}@localhost",
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.erlang),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
    }
    # Our own epmd, in the foreground: one that the server starts detaches itself and outlives it.
    epmd = Child("epmd", [_found("epmd"), "-port", str(ports.epmd), "-address", "127.0.0.1"], directory / "epmd.log")
    stack.callback(epmd.stop)
    server = _RABBITMQ_SERVER if _RABBITMQ_SERVER.exists() else _found("rabbitmq-server")
    child = Child("rabbitmq", [server], directory / "rabbitmq.log", env)
    stack.callback(child.stop)
    parameters = pika.ConnectionParameters("127.0.0.1", ports.amqp, connection_attempts=1, socket_timeout=5)
    wait_until(lambda: _accepts(parameters), "rabbitmq", _START_S, [epmd, child])
    return child


def _answers(store: "redis.Redis") -> bool:
    try:
        return bool(store.ping())
    except redis.ConnectionError:
        return False


def _accepts(parameters: pika.ConnectionParameters) -> bool:
    try:
        pika.BlockingConnection(parameters).close()
    except pika.exceptions.AMQPError:
        return False
    return True


def _found(program: str) -> str:
    path = which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchFailed(f"{program} is not installed")
    return path
