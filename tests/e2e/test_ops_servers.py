"""Tests that the private servers do what the tests and ``./notify up`` rely on."""

from pathlib import Path

import pika
import pika.exceptions
import psycopg
import pytest
import redis
import requests

from ops.errors import ServerFailed
from ops.processes import PidFile
from ops.servers import PostgreSQLServer, RabbitMQPorts, RabbitMQServer, RedisServer
from ops.servers.management import Management
from tests.support.run.servers import private_rabbitmq, private_redis, run_ports
from tests.support.waiting import eventually


def publish(url: str, queue: str, body: bytes = b"x") -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, body)


def living(directory: Path) -> set[str]:
    """Returns the names of the recorded processes under ``directory`` that still run."""
    return {record.stem for record in directory.glob("**/*.pid") if PidFile(record).living()}


def test_redis_is_empty_and_keeps_acknowledged_writes(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_rabbitmq_repeats_dead_letters_as_soon_as_it_is_told(rabbitmq: RabbitMQServer) -> None:
    asked = "application:get_env(rabbit, dead_letter_worker_publisher_confirm_timeout)."
    assert rabbitmq.ctl("eval", asked).strip() == "{ok,5000}"


def test_a_killed_broker_comes_back_with_its_messages_and_a_stopped_one_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Settings of the product, or of the system's broker, must not reach the private node.
    monkeypatch.setenv("RABBITMQ_NODENAME", "another-node@localhost")
    with private_rabbitmq(tmp_path) as server:
        publish(server.url, "kept")
        eventually(lambda: server.queue_is_on_disk("kept"))
        server.pause()
        assert not server.answers()
        server.resume()
        eventually(server.answers)
        server.kill()
        assert living(tmp_path) == set()
        server.start()
        eventually(lambda: server.list_queues()["kept"].messages == 1)
        assert living(tmp_path) == {"rabbitmq", "epmd"}
        server.stop()
        assert living(tmp_path) == set()


def test_a_killed_redis_comes_back_with_its_keys(tmp_path: Path) -> None:
    with private_redis(tmp_path) as server:
        with redis.Redis(port=server.port) as client:
            client.set("kept", "1")
        server.kill()
        assert not server.running()
        server.start()
        with redis.Redis(port=server.port) as client:
            assert client.get("kept") == b"1"
        server.stop()
        assert living(tmp_path) == set()


def test_a_killed_postgresql_comes_back_with_its_rows_and_a_removed_one_leaves_nothing(tmp_path: Path) -> None:
    server = PostgreSQLServer(tmp_path / "postgresql", port=run_ports(1)[0], durable=False)
    server.start()
    data = (tmp_path / "postgresql" / "data").resolve()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (x INTEGER)")
            user = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert user is not None
            assert Path(f"/proc/{user[0]}").stat().st_uid != 0
        server.kill()
        assert living(tmp_path) == set()
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    finally:
        server.stop()
        server.remove()
    assert living(tmp_path) == set()
    assert not data.exists()
    assert list(tmp_path.iterdir()) == []


def test_redis_with_a_password_admits_nobody_else(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, port=run_ports(1)[0], password_file=tmp_path / "password")
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        identity = server.identity()
        assert identity is not None
        told = Path(f"/proc/{identity.pid}/cmdline").read_bytes() + Path(f"/proc/{identity.pid}/environ").read_bytes()
        assert (tmp_path / "password").read_bytes() not in told
    finally:
        server.kill()


@pytest.mark.parametrize("made_by_an_earlier_version", [False, True])
def test_a_broker_with_a_password_admits_nobody_else(tmp_path: Path, made_by_an_earlier_version: bool) -> None:
    ports = RabbitMQPorts(*run_ports(4))
    if made_by_an_earlier_version:
        old = RabbitMQServer(tmp_path, ports)
        old.start()
        publish(old.url, "kept")
        old.stop()
    server = RabbitMQServer(tmp_path, ports, password_file=tmp_path / "password")
    server.start()
    try:
        assert server.answers()
        if made_by_an_earlier_version:
            eventually(lambda: server.list_queues()["kept"].messages == 1)
        publish(server.url, "new")
        assert (tmp_path / "url").read_text().strip() == server.url
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            publish(f"amqp://guest:guest@127.0.0.1:{ports.amqp}/%2F", "new")
        with pytest.raises(requests.HTTPError, match="401"):
            Management(server.management_url, "guest", "guest").vhosts()
    finally:
        server.kill()


def test_a_server_that_cannot_start_is_an_error_that_says_why(redis_server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"port \d+ is in use"):
        RedisServer(tmp_path, port=redis_server.port).start()


def test_a_broker_that_cannot_start_leaves_no_process(rabbitmq: RabbitMQServer, tmp_path: Path) -> None:
    distribution, epmd = run_ports(2)
    ports = RabbitMQPorts(rabbitmq.ports.amqp, rabbitmq.ports.management, distribution, epmd)
    with pytest.raises(ServerFailed):
        RabbitMQServer(tmp_path, ports).start()
    assert living(tmp_path) == set()


def test_servers_listen_on_loopback_only(
    rabbitmq: RabbitMQServer, redis_server: RedisServer, postgresql: PostgreSQLServer
) -> None:
    ports = {*vars(rabbitmq.ports).values(), redis_server.port, postgresql.port}
    heard = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines()[1:] if row.split()[3] == "0A"]
    ours = [address.split(":")[0] for address in heard if int(address.split(":")[1], 16) in ports]
    assert len(ours) == len(ports)
    assert set(ours) == {"0100007F"}
