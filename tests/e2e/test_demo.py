"""Tests ``./notify demo``: it shows what really happens, names a step that failed, and leaves nothing behind."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ops.servers import RabbitMQServer, RedisServer
from tests.e2e.ops_tree import Tree, plant_product, running_product
from tests.support.stores import Databases
from tests.support.waiting import eventually

TITLES = (
    "1  One push, one email, one SMS",
    "2  The same request again: suppressed",
    "3  A provider that fails twice: retried",
    "4  A dead token: failed.queue at once",
    "5  The primary mail server is down: breaker, failover, recovery",
    "6  A fault is healed: replayed from failed.queue",
    "7  An inbox: live on two devices",
    "8  A device is offline: it gets what it has missed",
    "9  Read on one device: read on the other",
    "10  One device too many: the oldest connection ends",
    "11  Nothing lost, nothing delivered twice",
)


@pytest.fixture
def tree(tmp_path: Path, rabbitmq: RabbitMQServer, vhost: str, redis_url: str) -> Iterator[Tree]:
    tree = plant_product(tmp_path, RABBITMQ_URL=rabbitmq.vhost_url(vhost), REDIS_URL=redis_url)
    yield tree
    tree.notify("down")
    assert tree.living() == set()


@pytest.fixture(scope="module")
def running(
    rabbitmq: RabbitMQServer,
    redis_server: RedisServer,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tree]:
    """Runs a system that is started before the demo, with its inboxes in PostgreSQL; its devices need tokens."""
    # The system uses its own Redis database, so that leftovers of other tests do not matter.
    settings = {"REDIS_URL": f"{redis_server.url.removesuffix('/0')}/2", "RETRY_BASE_S": "0.5", "BREAKER_OPEN_S": "2"}
    settings |= {"HEARTBEAT_S": "0.5", "SOCKET_TOKEN_KEYS": f"k1:{'secret' * 6}"}
    directory = tmp_path_factory.mktemp("system")
    with (
        databases.empty("postgresql") as url,
        running_product(directory, rabbitmq, "demo", DATABASE_URL=url, **settings) as tree,
    ):
        yield tree


def ask(tree: Tree, port: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"http://127.0.0.1:{tree.ports[port]}{path}", timeout=10).json()
    return found


def faults(tree: Tree) -> dict[str, Any]:
    standing: dict[str, Any] = ask(tree, "SANDBOX_PORT", "/sandbox/faults")["faults"]
    return standing


def assert_as_before(tree: Tree) -> None:
    """Checks that the system still runs and that the demo has left nothing in it."""
    assert faults(tree) == {}
    assert ask(tree, "GATEWAY_PORT", "/failed")["items"] == []
    assert tree.notify("status").returncode == 0


def test_it_starts_a_system_shows_every_step_and_stops_it_again(tree: Tree) -> None:
    shown = tree.notify("demo")
    assert shown.returncode == 0, shown.stdout
    assert [title for title in TITLES if title in shown.stdout] == list(TITLES)
    assert "RETRY_BASE_S=0.5" in shown.stdout
    assert "All steps succeeded" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert tree.living() == set()
    assert tree.tracebacks() == []


def test_a_step_that_does_not_happen_is_named_and_it_is_1(tree: Tree) -> None:
    # The first failure opens the breaker: the other provider delivers, so twilio does not fail twice.
    shown = tree.notify("demo", BREAKER_FAILURES="1")
    assert shown.returncode == 1
    assert "Step 3, 'A provider that fails twice: retried', failed" in shown.stdout
    assert TITLES[3] not in shown.stdout
    assert tree.living() == set()


def test_a_running_system_runs_on_and_nothing_of_the_demo_is_left_in_it(running: Tree) -> None:
    shown = running.notify("demo")
    assert shown.returncode == 0, shown.stdout
    assert "Using the running system" in shown.stdout
    assert_as_before(running)
    user = re.search(r"phone and laptop of (\S+)", shown.stdout)
    assert user is not None
    assert ask(running, "GATEWAY_PORT", f"/users/{user[1]}/inbox/count") == {"unread": 0, "total": 0}
    assert "PostgreSQL, 127.0.0.1" in running.notify("status").stdout
    assert ask(running, "GATEWAY_PORT", "/health")["status"] == "healthy"


def test_an_interrupt_heals_what_the_demo_had_broken_and_the_next_demo_plays(running: Tree) -> None:
    demo = running.begin("demo")
    eventually(lambda: "smtp" in faults(running), 60)
    # It stands still meanwhile, so that it is not over before it is interrupted.
    demo.send_signal(signal.SIGSTOP)
    assert running.notify("demo").returncode == 4
    demo.send_signal(signal.SIGCONT)
    demo.send_signal(signal.SIGINT)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "Interrupted" in output
    assert_as_before(running)
    again = running.notify("demo")
    assert again.returncode == 0, again.stdout


def test_a_fault_that_the_demo_has_not_set_is_not_removed(running: Tree) -> None:
    url = f"http://127.0.0.1:{running.ports['SANDBOX_PORT']}/sandbox/faults/users"
    assert requests.put(url, json={"mode": "status", "status": 503}, timeout=5).ok
    refused = running.notify("demo")
    assert (refused.returncode, "users" in refused.stdout) == (1, True)
    assert list(faults(running)) == ["users"]
    requests.delete(url, timeout=5)


def test_without_a_sandbox_it_is_2(running: Tree) -> None:
    refused = running.notify("demo", SANDBOX_PORT=str(running.ports["LOCAL_EPMD_PORT"]))
    assert (refused.returncode, "SANDBOX_PORT" in refused.stdout) == (2, True)


def test_interrupting_a_demo_that_started_the_system_stops_it(tree: Tree) -> None:
    demo = tree.begin("demo")
    eventually(lambda: "process-push" in tree.living(), 60)
    demo.send_signal(signal.SIGTERM)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1, output
    assert tree.living() == set()


@pytest.fixture(scope="module")
def never_started(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Copies the product for commands that are refused, and so change nothing."""
    return plant_product(tmp_path_factory.mktemp("never-started"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFY_ENV", "production"),
        ("PUSH_PROVIDERS", "fcm://push.example.com/project"),
        ("USER_ENDPOINT", "https://users.example.com"),
        ("TEMPLATE_ENDPOINT", "https://templates.example.com"),
        ("FIREBASE_KEY", "key.json"),
        ("API_KEYS", f"client:send:{'0' * 64}"),
        ("WEBSOCKET_ROLE", "consumer"),
        ("SOCKETS_PER_USER", "1"),
    ],
)
def test_settings_with_which_it_could_reach_more_than_the_sandbox_or_cannot_play_are_refused(
    never_started: Tree, name: str, value: str
) -> None:
    refused = never_started.notify("demo", timeout_s=30, **{name: value})
    assert (refused.returncode, refused.stdout.startswith(name)) == (2, True)
    assert not (never_started.root / ".local").exists()
