"""Tests ``./notify up``, ``status``, ``logs`` and ``down`` with private servers and a stand-in product."""

import signal
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.servers import RabbitMQServer, RedisServer
from tests.e2e.ops_tree import Tree, plant
from tests.support.waiting import eventually

EVERYTHING = {
    "up",
    "supervisord",
    "rabbitmq",
    "epmd",
    "redis",
    *(f"process-{name}" for name in ("gateway", "sandbox", "push", "email", "sms", "websocket")),
}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    planted = plant(tmp_path)
    yield planted
    planted.notify("down")
    assert planted.living() == set()


@pytest.fixture
def given(rabbitmq: RabbitMQServer, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the command servers, so that it does not have to start its own."""
    monkeypatch.setenv("RABBITMQ_URL", rabbitmq.url)
    monkeypatch.setenv("REDIS_URL", redis_server.url)


def kill(tree: Tree, name: str) -> None:
    process = tree.process(name)
    assert process is not None
    process.send(signal.SIGKILL)
    assert process.wait(10)


def test_up_brings_private_servers_and_survives_every_kill(tree: Tree) -> None:
    up = tree.notify("up", "-d")
    assert up.returncode == 0, up.stdout
    assert f"http://127.0.0.1:{tree.ports['GATEWAY_PORT']}/notifications" in up.stdout
    assert f"ws://127.0.0.1:{tree.ports['SOCKET_PORT']}/ws" in up.stdout
    assert tree.living() == EVERYTHING
    password = (tree.root / ".local" / "redis" / "password").read_text()
    assert tree.events("push")[0]["redis"] == f"redis://:{password}@127.0.0.1:{tree.ports['LOCAL_REDIS_PORT']}/0"
    assert stat.S_IMODE((tree.root / ".local").stat().st_mode) == 0o700
    # The tables are there before any process is.
    file = tree.root / ".local" / "store" / "notify.db"
    assert tree.events("push")[0]["database"] == f"sqlite:///{file} 0001"
    assert tree.notify("up").returncode == 4

    # A process that dies is restarted, and so is a private server.
    kill(tree, "run/process-push")
    kill(tree, "redis/redis")
    eventually(lambda: tree.living() == EVERYTHING, deadline_s=60)

    # If supervisord dies, the keeper starts the processes again, and the servers stay.
    before = tree.process("rabbitmq/rabbitmq")
    kill(tree, "run/supervisord")
    eventually(lambda: tree.living() == EVERYTHING, deadline_s=60)
    eventually(lambda: tree.states() == {"RUNNING"}, deadline_s=60)
    assert tree.notify("status").stdout.count("running") >= 7
    assert tree.process("rabbitmq/rabbitmq") == before

    # If only the keeper dies, the system runs on; the next start keeps it, and does not restart it.
    kept = {name: tree.process(name) for name in ("run/supervisord", "run/process-push", "redis/redis")}
    kill(tree, "run/up")
    status = tree.notify("status")
    assert (status.returncode, "takes it over" in status.stdout) == (0, True)
    again = tree.notify("up", "-d")
    assert again.returncode == 0, again.stdout
    assert "is running without a keeper" in again.stdout
    assert {name: tree.process(name) for name in kept} == kept
    kill(tree, "redis/redis")
    eventually(lambda: tree.living() == EVERYTHING, deadline_s=60)

    # With other settings the next start restarts it.
    kill(tree, "run/up")
    again = tree.notify("up", "-d", PREFETCH="8")
    assert again.returncode == 0, again.stdout
    assert "Ending processes that an earlier run left" in again.stdout

    # After the keeper and its supervisord were killed, the next start ends all remaining processes and succeeds.
    kill(tree, "run/up")
    kill(tree, "run/supervisord")
    assert tree.notify("status").returncode == 3
    again = tree.notify("up", "-d")
    assert again.returncode == 0, again.stdout
    assert "Ending processes that an earlier run left" in again.stdout
    assert tree.living() == EVERYTHING

    # The system can be stopped even if a setting has become invalid since the start.
    down = tree.notify("down", PREFETCH="0")
    assert (down.returncode, down.stdout) == (0, "Stopped.\n")
    assert tree.living() == set()
    assert tree.events("push")[-1]["event"] == "stopped"
    assert tree.notify("down").returncode == 3


def test_interrupting_the_start_leaves_no_process(tree: Tree) -> None:
    up = tree.begin("up")
    eventually(lambda: tree.process("rabbitmq/rabbitmq"), deadline_s=60)
    up.send_signal(signal.SIGINT)
    # A second signal must not interrupt the stop.
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=60)
    assert up.returncode == 0, output
    assert tree.living() == set()


@pytest.mark.usefixtures("given")
def test_the_foreground_shows_the_processes_and_stops_on_ctrl_c(
    tree: Tree, rabbitmq: RabbitMQServer, redis_server: RedisServer
) -> None:
    up = tree.begin("up")
    eventually(lambda: "process-push" in tree.living(), deadline_s=60)
    eventually(lambda: tree.events("push"), deadline_s=60)
    eventually(lambda: tree.states(), deadline_s=60)
    assert tree.notify("status").returncode == 0
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=60)
    assert up.returncode == 0, output
    assert "push      " in output
    assert tree.living() == set()
    # The command must not stop servers that it was given.
    assert rabbitmq.running()
    assert redis_server.running()


@pytest.mark.usefixtures("given")
def test_status_and_logs(tree: Tree) -> None:
    assert tree.notify("logs").returncode == 3
    assert tree.notify("up", "-d").returncode == 0
    status = tree.notify("status").stdout
    assert all(name in status for name in ("gateway", "sandbox", "push", "email", "sms", "websocket", "given"))
    assert str(tree.ports["EMAIL_PORT"]) in status
    assert f"{tree.ports['WEBSOCKET_PORT']}, {tree.ports['SOCKET_PORT']}" in status
    assert "embedded" in status
    assert '"event": "started"' in tree.notify("logs", "email").stdout
    assert tree.notify("logs", "nobody").returncode == 2


@pytest.mark.usefixtures("given")
def test_an_unhealthy_part_is_named(tree: Tree) -> None:
    (tree.root / "sms.fails").touch()
    (tree.root / "degraded").touch()
    up = tree.notify("up", "-d", NOTIFY_UP_TIMEOUT_S="8")
    assert up.returncode == 1
    assert "push: no consumer on push.queue" in up.stdout
    assert "sms fails because it was told to" in up.stdout


@pytest.mark.usefixtures("given")
def test_processes_that_refuse_their_settings_are_not_waited_for(tree: Tree) -> None:
    for name in ("email", "sms"):
        (tree.root / f"{name}.refuses").touch()
    of_before = tree.root / ".local/log/email.log"
    of_before.parent.mkdir(parents=True)
    of_before.write_text("long ago\n" * 20)
    up = tree.notify("up", "-d", NOTIFY_UP_TIMEOUT_S="40")
    assert up.returncode == 2
    assert up.stdout.count("EMAIL_PROVIDERS: required") == up.stdout.count("SMS_PROVIDERS: required") == 1
    assert "Not healthy" not in up.stdout
    assert "long ago" not in up.stdout
    assert tree.living() == set()


def test_a_taken_port_is_named_with_its_setting(tree: Tree) -> None:
    with socket.create_server(("127.0.0.1", tree.ports["EMAIL_PORT"])):
        up = tree.notify("up", "-d")
    assert up.returncode == 1
    assert up.stdout.splitlines()[0] == f"port {tree.ports['EMAIL_PORT']} (EMAIL_PORT) is in use"
    assert tree.living() == set()


def test_a_newer_database_is_refused_before_anything_starts(tree: Tree) -> None:
    assert tree.notify("store", "upgrade").returncode == 0
    with sqlite3.connect(tree.root / ".local/store/notify.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
    database.close()
    up = tree.notify("up", "-d")
    assert up.returncode == 2
    assert "DATABASE_URL: the database is newer than this version" in up.stdout
    assert tree.living() == set()


def test_a_given_server_that_does_not_answer_is_named_without_its_password(tree: Tree) -> None:
    port = tree.ports["LOCAL_RABBITMQ_PORT"]
    up = tree.notify("up", "-d", RABBITMQ_URL=f"amqp://user:hidden@127.0.0.1:{port}/")
    assert up.returncode == 1
    assert f"RabbitMQ at 127.0.0.1:{port} (RABBITMQ_URL) does not answer" in up.stdout
    assert "hidden" not in up.stdout
    database = tree.notify("up", "-d", DATABASE_URL=f"postgresql://user:hidden@127.0.0.1:{port}/notify")
    assert database.returncode == 1
    assert f"PostgreSQL at 127.0.0.1:{port} (DATABASE_URL) does not answer" in database.stdout
    assert "hidden" not in database.stdout
