"""Tests the gateway as a process, with a real broker and Redis: 202 means that the notification is stored."""

import json
import re
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from ops.servers import RabbitMQServer, RedisServer
from shared.message.channels import CHANNELS, lanes_of
from shared.message.envelope import parse_queued
from shared.message.headers import read_state
from tests.support.gateway_process import GatewayProcess, children, gateway_process, push, taken
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def vhost_url(rabbitmq: RabbitMQServer) -> Iterator[str]:
    """Makes one virtual host for the whole file: starting a gateway takes longer than any test here."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq.management.create_vhost(name)
    yield rabbitmq.vhost_url(name)
    rabbitmq.management.delete_vhost(name)


@pytest.fixture(scope="module")
def shared_gateway(
    tmp_path_factory: pytest.TempPathFactory, vhost_url: str, redis_server: RedisServer
) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("gateway")
    with gateway_process(directory, vhost_url, redis_server.url, GATEWAY_PROCESSES="2") as running:
        yield running


@pytest.fixture
def gateway(shared_gateway: GatewayProcess, vhost_url: str, redis_url: str) -> GatewayProcess:
    """Returns the shared gateway with empty queues and an empty Redis."""
    for channel in CHANNELS:
        for lane in lanes_of(channel):
            taken(vhost_url, lane.queue)
    return shared_gateway


def test_an_accepted_notification_lies_in_its_lane(gateway: GatewayProcess, vhost_url: str) -> None:
    answer = gateway.post(push("a", priority="high"))
    assert (answer.status_code, answer.json()) == (
        202,
        {"request_id": "a", "status": "accepted", "channels": ["push"]},
    )
    ((properties, body),) = taken(vhost_url, "push.high.queue")
    assert parse_queued(body, "push").request_id == "a"
    assert (properties.correlation_id, properties.delivery_mode) == ("a", 2)
    assert properties.message_id
    state = read_state(properties.headers)
    assert state.accepted_at.endswith("Z")
    assert (state.attempt, state.deferrals, state.replay) == (0, 0, 0)


def test_one_message_per_channel(gateway: GatewayProcess, vhost_url: str) -> None:
    document = push("a", channels=["push", "email"])
    del document["notification_type"]
    assert gateway.post(document).json()["channels"] == ["push", "email"]
    assert len(taken(vhost_url, "push.queue")) == len(taken(vhost_url, "email.queue")) == 1


def test_a_replay_is_known_to_every_process_and_published_once(gateway: GatewayProcess, vhost_url: str) -> None:
    first = gateway.post(push("a"))
    # Each request uses its own connection, so that both processes get some.
    again = [gateway.post(push("a")) for _ in range(10)]
    assert {(answer.status_code, answer.text) for answer in again} == {(202, first.text)}
    assert {answer.headers["Idempotent-Replayed"] for answer in again} == {"true"}
    assert gateway.post(push("a", priority="low")).status_code == 422
    assert len(taken(vhost_url, "push.queue")) == 1


def test_copies_that_race_are_published_at_most_once_per_process(gateway: GatewayProcess, vhost_url: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: gateway.post(push("a")).status_code, range(40)))
    assert set(statuses) <= {202, 409}
    assert 202 in statuses
    assert 1 <= len(taken(vhost_url, "push.queue")) <= 2


def test_a_batch_is_stored_item_by_item(gateway: GatewayProcess, vhost_url: str) -> None:
    items: list[Any] = [push(f"r{n}", priority=n % 11) for n in range(500)]
    items[7] = push("bad", priority=11)
    answer = gateway.post(items, "/notifications/batch")
    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == [202] * 7 + [422] + [202] * 492
    stored = sum(len(taken(vhost_url, queue)) for queue in ("push.high.queue", "push.queue", "push.low.queue"))
    assert stored == 499


def _counted(gateway: GatewayProcess) -> int:
    found = re.search(r'notify_accepted_total\{channel="push",lane="medium"\} (\d+)', gateway.get("/metrics").text)
    assert found
    return int(found[1])


def test_processes_count_together(gateway: GatewayProcess) -> None:
    before = _counted(gateway)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: gateway.post(push(f"r{n}")), range(60)))
    assert {_counted(gateway) for _ in range(5)} == {before + 60}


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_a_chunked_body_is_read_whole_or_refused(gateway: GatewayProcess, vhost_url: str) -> None:
    def post(body: bytes) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        return requests.post(f"{gateway.url}/notifications", data=_pieces(body, 1000), headers=headers, timeout=15)

    body = json.dumps(push("a", metadata={"text": "x" * 60_000})).encode()
    assert post(body).status_code == 202
    ((_, stored),) = taken(vhost_url, "push.queue")
    assert json.loads(stored)["metadata"]["text"] == "x" * 60_000
    # This body would still be valid JSON if it were cut at the limit.
    padded = json.dumps(push("b")).encode().ljust(70_000)
    assert post(padded).status_code == 413
    assert post(padded[: 64 * 1024]).status_code == 202
    assert len(taken(vhost_url, "push.queue")) == 1


def test_a_body_that_ends_early_is_not_accepted(gateway: GatewayProcess, vhost_url: str) -> None:
    body = json.dumps(push("a")).encode()
    head = (
        "POST /notifications HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) + 5}"
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        assert b" 202 " not in client.recv(4096)
    assert taken(vhost_url, "push.queue") == []


def test_health_is_degraded_without_workers_and_knows_the_depth(gateway: GatewayProcess) -> None:
    document = gateway.get("/health").json()
    assert (document["status"], document["broker"], document["redis"]) == ("degraded", "up", "up")
    assert document["channels"]["push"]["consumers"] == 0


def test_sigterm_ends_it_with_nothing_left(tmp_path: Path, vhost_url: str, redis_url: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with gateway_process(tmp_path, vhost_url, redis_url, GATEWAY_PROCESSES="2", TMPDIR=str(temporary)) as gateway:
        workers = children(gateway.process.pid)
        eventually(lambda: len(list(temporary.glob("*/counter_*.db"))) == 2)
        assert gateway.stop() == 0
        assert list(temporary.iterdir()) == []
        assert [worker for worker in workers if Path(f"/proc/{worker}").exists()] == []
        with pytest.raises(requests.ConnectionError):
            gateway.get("/health/live")
