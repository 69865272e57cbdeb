"""Tests ``./notify breaker`` with the real workers, two of them for one channel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from ops.servers import RabbitMQServer, RedisServer
from shared.health.registry import force_breaker
from shared.message.channels import CHANNELS
from shared.redis.client import sync_client
from tests.e2e.ops_tree import Tree, plant_product, running_product
from tests.support.waiting import eventually

HEARTBEAT_S = 0.3


@pytest.fixture(scope="module")
def store(redis_server: RedisServer) -> str:
    """Returns the URL of a database that is not emptied for the tests without workers."""
    return f"{redis_server.url.removesuffix('/0')}/1"


@pytest.fixture(scope="module")
def running(rabbitmq: RabbitMQServer, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """Runs a system with given servers and two workers for email."""
    settings = {"REDIS_URL": store, "HEARTBEAT_S": str(HEARTBEAT_S), "RETRY_BASE_S": "0.5", "EMAIL_PROCESSES": "2"}
    with running_product(tmp_path_factory.mktemp("system"), rabbitmq, "breakers", **settings) as tree:
        yield tree


@pytest.fixture
def system(running: Tree, store: str) -> Iterator[Tree]:
    """Yields the running system, which all tests share, and ends every force after the test."""
    yield running
    with sync_client(store) as client:
        client.delete("notify-breakers-forced")


def listed(tree: Tree) -> dict[str, Any]:
    shown = tree.notify("breaker", "list", "--json")
    assert shown.returncode == 0, shown.stdout
    return {f"{each['channel']}/{each['provider']}": each for each in json.loads(shown.stdout)["breakers"]}


def send(tree: Tree, request_id: str, channel: str) -> None:
    address = {"push": {"push_tokens": ["t"]}, "email": {"email": "a@example.com"}}[channel]
    envelope = {"request_id": request_id, "notification_type": channel, "recipient": address}
    answer = requests.post(
        f"http://127.0.0.1:{tree.ports['GATEWAY_PORT']}/notifications",
        json={**envelope, "content": {"title": "t", "body": "b"}},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text


def delivered_by(tree: Tree, request_id: str) -> list[str]:
    url = f"http://127.0.0.1:{tree.ports['SANDBOX_PORT']}/sandbox/deliveries"
    found = requests.get(url, params={"request_id": request_id}, timeout=10).json()["deliveries"]
    return [delivery["provider"] for delivery in found]


def test_the_list_has_every_breaker_of_every_worker(system: Tree) -> None:
    found = listed(system)
    sources = {channel: [f"{channel}/users", f"{channel}/templates"] for channel in CHANNELS}
    assert list(found) == [
        *("push/fcm", *sources["push"]),
        *("email/smtp", "email/smtp2", *sources["email"]),
        *("sms/twilio", "sms/vonage", *sources["sms"]),
        *("websocket/inbox", *sources["websocket"]),
    ]
    assert {name: len(each["workers"]) for name, each in found.items()}["email/smtp"] == 2
    assert {state for each in found.values() for state in each["workers"].values()} == {"closed"}
    table = system.notify("breaker", "list", COLUMNS="120").stdout
    for worker in found["email/smtp"]["workers"]:
        assert worker in table


def test_every_worker_obeys_as_soon_as_the_command_says_forced_open(system: Tree) -> None:
    forced = system.notify("breaker", "open", "email/smtp")
    assert (forced.returncode, forced.stdout) == (0, "email/smtp is forced open: 2 workers obey.\n")
    # The workers obey as soon as the command has returned, not some heartbeats later.
    found = listed(system)["email/smtp"]
    assert (found["forced"], set(found["workers"].values())) == ("open", {"open"})
    for number in range(6):
        send(system, f"open-{number}", "email")
    for number in range(6):
        assert eventually(lambda n=number: delivered_by(system, f"open-{n}")) == ["smtp2"]  # type: ignore[misc]

    ended = system.notify("breaker", "auto", "email/smtp")
    assert (ended.returncode, ended.stdout) == (0, "email/smtp decides for itself: 2 workers obey.\n")
    assert listed(system)["email/smtp"]["forced"] is None


def test_a_forced_channel_keeps_its_messages_until_the_force_ends(system: Tree) -> None:
    assert system.notify("breaker", "open", "push/fcm").returncode == 0
    send(system, "kept", "push")
    health = f"http://127.0.0.1:{system.ports['PUSH_PORT']}/health"
    eventually(lambda: requests.get(health, timeout=5).json()["paused"])
    assert delivered_by(system, "kept") == []
    assert system.notify("breaker", "auto", "push/fcm").returncode == 0
    assert eventually(lambda: delivered_by(system, "kept")) == ["fcm"]


def test_the_breaker_of_a_source_is_forced_like_a_providers(system: Tree) -> None:
    forced = system.notify("breaker", "open", "email/users")
    assert (forced.returncode, forced.stdout) == (0, "email/users is forced open: 2 workers obey.\n")
    assert set(listed(system)["email/users"]["workers"].values()) == {"open"}
    send(system, "needs-no-user", "email")
    assert eventually(lambda: delivered_by(system, "needs-no-user")) == ["smtp"]
    ended = system.notify("breaker", "auto", "users")
    assert (ended.returncode, ended.stdout) == (0, "users decides for itself: 5 workers obey.\n")
    assert listed(system)["email/users"]["forced"] is None


def test_forced_closed_lets_every_call_through_even_if_the_provider_fails(system: Tree) -> None:
    faults = f"http://127.0.0.1:{system.ports['SANDBOX_PORT']}/sandbox/faults"
    assert system.notify("breaker", "close", "push/fcm").returncode == 0
    # This is one failure more than opens a breaker: the messages are delivered only if no breaker has opened.
    assert requests.put(f"{faults}/fcm", json={"mode": "status", "status": 503, "count": 6}, timeout=5).ok
    for number in range(6):
        send(system, f"closed-{number}", "push")
    for number in range(6):
        assert eventually(lambda n=number: delivered_by(system, f"closed-{n}"), 30) == ["fcm"]  # type: ignore[misc]
    assert set(listed(system)["push/fcm"]["workers"].values()) == {"closed"}
    assert system.notify("breaker", "auto", "push/fcm").returncode == 0


@pytest.mark.parametrize(
    ("command", "name"),
    [("open", "email/pigeon"), ("close", "fax/smtp"), ("auto", "smtp"), ("open", "email/"), ("open", "email/smtp/2")],
)
def test_an_unknown_breaker_is_2_and_the_known_are_named(system: Tree, command: str, name: str) -> None:
    refused = system.notify("breaker", command, name)
    assert refused.returncode == 2
    assert "push/fcm, push/users, push/templates, email/smtp, email/smtp2, email/users" in refused.stdout
    assert {each["forced"] for each in listed(system).values()} == {None}


def test_a_force_for_a_provider_that_no_longer_exists_can_be_ended(system: Tree, store: str) -> None:
    with sync_client(store) as client:
        force_breaker(client, "sms", "pigeon", "open")
    assert listed(system)["sms/pigeon"]["forced"] == "open"
    assert system.notify("breaker", "auto", "sms/pigeon").returncode == 0
    assert "sms/pigeon" not in listed(system)


def test_without_workers_the_settings_name_the_breakers(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = plant_product(tmp_path_factory.mktemp("bare"))
    providers = "smtp://u:hidden@127.0.0.1:1?from=a@example.com,smtp://u:hidden@127.0.0.1:2?from=a@example.com"
    forced = tree.notify("breaker", "open", "email/smtp2", REDIS_URL=redis_url, EMAIL_PROVIDERS=providers)
    assert forced.returncode == 0
    assert forced.stdout == "email/smtp2 is forced open: no worker is running; workers that start later will obey.\n"
    table = tree.notify("breaker", "list", REDIS_URL=redis_url, EMAIL_PROVIDERS=providers).stdout
    assert "no living worker" in table
    assert "hidden" not in table


def test_a_worker_that_does_not_obey_is_named_and_it_is_1(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = plant_product(tmp_path_factory.mktemp("deaf"))
    with sync_client(redis_url) as client:
        seconds, _ = client.time()
        # Its last heartbeat lies a minute in the future, so that it counts as alive while the command waits.
        state = {"providers": {"fcm": "closed"}, "forced": {}, "at_ms": (seconds + 60) * 1000}
        client.hset("notify-workers:push", "push@deaf:1", json.dumps(state))
    forced = tree.notify("breaker", "open", "push/fcm", REDIS_URL=redis_url, HEARTBEAT_S=str(HEARTBEAT_S))
    assert forced.returncode == 1
    assert "push@deaf:1" in forced.stdout


def test_an_unavailable_redis_is_1_and_named_without_its_password(tmp_path_factory: pytest.TempPathFactory) -> None:
    tree = plant_product(tmp_path_factory.mktemp("away"))
    port = tree.ports["LOCAL_REDIS_PORT"]
    away = tree.notify("breaker", "list", REDIS_URL=f"redis://:hidden@127.0.0.1:{port}/0")
    assert away.returncode == 1
    assert f"127.0.0.1:{port}" in away.stdout
    assert "hidden" not in away.stdout
