"""Tests a worker with messages that it cannot forward, on a real broker: all others are delivered beside them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ops.servers import RabbitMQServer
from shared.broker import topology
from shared.errors import Refusal, Refused, Unavailable
from shared.message.channels import PRIORITIES, Lane
from shared.providers.provider import Message
from shared.settings.settings import Settings
from shared.worker.poison import SUSPECT_AT
from shared.worker.status import Status
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, quick_settings, running

LOW = Lane("push", "low")
#: more than the prefetch of the low lane, which is a quarter of it
PREFETCH, REFUSED = 40, 20


@pytest.fixture
def settings(vhost_url: str, redis_url: str) -> Settings:
    return quick_settings(
        vhost_url, redis_url, prefetch=PREFETCH, breaker_failures=1000, lease_s=60.0, handling_budget_s=25.0
    )


async def test_a_memory_alarm_and_an_unreadable_message_stop_no_lane_after_a_start(
    settings: Settings, rabbitmq: RabbitMQServer
) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider], start=False) as bench:
        await bench.put(priority="low", body=b"{")
        ids = [await bench.put(priority="high") for _ in range(200)]
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            run = asyncio.create_task(bench.worker.run())
            await eventually_async(lambda: len(provider.accepted) == 200)
            assert len(bench.worker.forwards) == 1
            status = Status("push", bench.worker, bench.providers, bench.publisher)
            await eventually_async(lambda: bench.worker.forwards.oldest_s >= 5)
            assert (status.health()["status"], status.health()["forwards"]) == ("degraded", 1)
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")
        await eventually_async(lambda: not len(bench.worker.forwards), deadline_s=20)
        assert Counter(provider.accepted) == Counter(ids)
        assert {headers["notify-failed-reason"] for headers, _ in await bench.failed()} == {"invalid_json"}
        bench.worker.stop()
        await run


async def _refuse_declarations(rabbitmq: RabbitMQServer, vhost: str, prefix: str) -> None:
    """Forbids to declare what begins with ``prefix``; '' allows everything."""
    configure = f"^(?!{prefix}).*" if prefix else ".*"
    await asyncio.to_thread(rabbitmq.management.permit, vhost, configure)


@pytest.mark.parametrize("dead", [False, True], ids=["to the ladder", "to failed.queue"])
async def test_a_missing_target_and_reconnections_stop_no_other_lane(
    dead: bool, settings: Settings, rabbitmq: RabbitMQServer, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.broker.connection.backoff_s", lambda tries, draw: 0.02)
    failing: set[str] = set()

    async def script(message: Message) -> str:
        if message.request_id in failing:
            raise Refused(Refusal.PAYLOAD_REJECTED, "no") if dead else Unavailable("503")
        return "id"

    provider = ScriptedProvider(script=script)
    async with running(settings, [provider]) as bench:
        await eventually_async(lambda: bench.worker.broker_up)
        await _refuse_declarations(rabbitmq, vhost, "failed.queue" if dead else "retry.push.low")
        ladder = [topology.retry_queue(LOW, level_s) for level_s in settings.broker.retry_levels_s]
        for queue in [topology.FAILED_QUEUE] if dead else ladder:
            await asyncio.to_thread(rabbitmq.ctl, "delete_queue", "-p", vhost, queue)
        for n in range(REFUSED):
            failing.add(f"refused-{n}")
            await bench.put(f"refused-{n}", priority="low")
        # It gets its whole prefetch and no more.
        await eventually_async(lambda: len(bench.worker.forwards) >= PREFETCH // 4)
        # After SUSPECT_AT reconnections all of them are suspects.
        for n in range(SUSPECT_AT + 1):
            await asyncio.to_thread(rabbitmq.close_connections)
            await eventually_async(lambda: bench.worker.broker_up and bench.publisher.state == "up")
            ids = {await bench.put(f"good-{n}-{i}", priority=PRIORITIES[i % 2]) for i in range(50)}
            await eventually_async(lambda ids=ids: ids <= set(provider.accepted), deadline_s=20)  # type: ignore[misc]
        calls = Counter(rid for rid in provider.calls if rid in failing)
        assert max(calls.values()) == 1
        waiting = frozenset(failing)
        failing.clear()
        await _refuse_declarations(rabbitmq, vhost, "")
        await eventually_async(lambda: not len(bench.worker.forwards), deadline_s=30)
        if dead:
            reasons = [headers["notify-failed-reason"] for headers, _ in await bench.failed()]
            assert len(reasons) >= REFUSED
            assert set(reasons) == {"payload_rejected"}
        else:
            await eventually_async(lambda: waiting <= set(provider.accepted), deadline_s=20)
    assert max(Counter(provider.accepted).values()) == 1
