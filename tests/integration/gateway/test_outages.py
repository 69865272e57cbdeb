"""Tests what the gateway answers, and how soon, while the broker or Redis is unavailable, frozen, full or wrong."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pika
import requests

from ops.servers import RabbitMQServer, RedisServer
from tests.support.gateway_process import GatewayProcess, children, gateway_process, push, taken
from tests.support.waiting import eventually


def timed(gateway: GatewayProcess, document: Any, path: str = "/notifications") -> tuple[int, float]:
    begun = time.monotonic()
    answer = gateway.post(document, path)
    took_s = time.monotonic() - begun
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) >= 1
    return answer.status_code, took_s


def test_a_frozen_broker_costs_one_wait_and_then_503_at_once(
    tmp_path: Path, rabbitmq: RabbitMQServer, vhost_url: str, redis_url: str
) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url) as gateway:
        assert gateway.post(push("known")).status_code == 202
        rabbitmq.pause()
        try:
            status, took_s = timed(gateway, push("a"))
            assert (status, took_s < 5) == (503, True)
            status, took_s = timed(gateway, push("b"))
            assert (status, took_s < 0.5) == (503, True)
            status, took_s = timed(gateway, [push("c"), push("d")], "/notifications/batch")
            assert (status, took_s < 0.5) == (503, True)
            replay = gateway.post(push("known"))
            assert replay.headers["Idempotent-Replayed"] == "true"
            assert gateway.get("/health/ready").status_code == 503
            assert gateway.get("/health/live").status_code == 200
        finally:
            rabbitmq.resume()
        eventually(lambda: gateway.post(push("a")).status_code == 202, 30)
        assert gateway.post(push("e")).status_code == 202
        assert gateway.get("/health/ready").status_code == 200


def test_without_a_broker_it_lives_and_answers_503(tmp_path: Path, redis_url: str) -> None:
    away = "amqp://guest:guest@127.0.0.1:1/none"
    with gateway_process(tmp_path, away, redis_url, ready=False) as gateway:
        eventually(lambda: _lives(gateway), 15)
        health = gateway.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        status, took_s = timed(gateway, push("a"))
        assert (status, took_s < 5) == (503, True)
        assert timed(gateway, push("b"))[0] == 503


def _lives(gateway: GatewayProcess) -> bool:
    try:
        return gateway.get("/health/live").status_code == 200
    except requests.ConnectionError:
        return False


def test_with_redis_down_it_accepts_all_the_same(
    tmp_path: Path, redis_server: RedisServer, vhost_url: str, redis_url: str
) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url) as gateway:
        redis_server.kill()
        try:
            assert gateway.post(push("a")).status_code == 202
            document = gateway.get("/health").json()
            assert (document["status"], document["redis"]) == ("degraded", "down")
        finally:
            redis_server.start()
        assert len(taken(vhost_url, "push.queue")) == 1
        eventually(lambda: gateway.get("/health").json()["redis"] == "up")
        eventually(lambda: "Idempotent-Replayed" in gateway.post(push("b")).headers, 15)


def test_a_redis_that_never_answers_delays_one_request_per_second(
    tmp_path: Path, redis_server: RedisServer, vhost_url: str, redis_url: str
) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url) as gateway:
        assert gateway.post(push("first")).status_code == 202
        redis_server.pause()
        try:
            begun = time.monotonic()
            took = [timed(gateway, push(f"r{n}")) for n in range(40)]
            elapsed_s = time.monotonic() - begun
        finally:
            redis_server.resume()
        assert {status for status, _ in took} == {202}
        assert max(took_s for _, took_s in took) < 2
        slow = sum(1 for _, took_s in took if took_s > 0.4)
        assert slow <= elapsed_s + 1


def test_a_lane_over_its_limit_is_refused_and_others_are_not(tmp_path: Path, vhost_url: str, redis_url: str) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url, QUEUE_MAX_READY="3") as gateway:
        items = [push(f"r{n}") for n in range(4)]
        assert gateway.post(items, "/notifications/batch").status_code == 200
        eventually(lambda: gateway.get("/health").json()["channels"]["push"]["ready"] == 4)
        answer = gateway.post(push("more"))
        assert answer.status_code == 503
        assert "push.queue" in answer.json()["detail"]
        assert "Retry-After" in answer.headers
        assert gateway.post(push("urgent", priority="high")).status_code == 202
        assert len(taken(vhost_url, "push.queue")) == 4
        eventually(lambda: gateway.post(push("more")).status_code == 202)


def test_a_deleted_queue_comes_back_with_the_next_notification(tmp_path: Path, vhost_url: str, redis_url: str) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url) as gateway:
        with pika.BlockingConnection(pika.URLParameters(vhost_url)) as connection:
            connection.channel().queue_delete("sms.queue")
        sms = push("a", notification_type="sms")
        eventually(lambda: gateway.post(sms).status_code == 202)
        assert len(taken(vhost_url, "sms.queue")) == 1
        eventually(lambda: gateway.get("/health").json()["channels"]["sms"]["ready"] == 0)


def test_a_queue_with_other_arguments_ends_it(tmp_path: Path, vhost_url: str, redis_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost_url)) as connection:
        connection.channel().queue_declare("push.queue", durable=True, arguments={"x-queue-type": "classic"})
    with gateway_process(tmp_path, vhost_url, redis_url, ready=False) as gateway:
        assert gateway.process.wait(30) != 0
        assert "inequivalent arg" in gateway.log.read_text()


def test_worker_processes_do_not_outlive_a_main_process_that_was_killed(
    tmp_path: Path, vhost_url: str, redis_url: str
) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url, GATEWAY_PROCESSES="2") as gateway:
        workers = children(gateway.process.pid)
        assert len(workers) == 2
        gateway.process.kill()
        gateway.process.wait()
        try:
            eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        finally:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)


def test_a_worker_process_that_dies_is_replaced(tmp_path: Path, vhost_url: str, redis_url: str) -> None:
    with gateway_process(tmp_path, vhost_url, redis_url) as gateway:
        (worker,) = children(gateway.process.pid)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: children(gateway.process.pid) not in ([], [worker]))
        gateway.wait_ready()
