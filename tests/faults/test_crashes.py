"""Workers killed with SIGKILL: nothing is lost, and what is sent twice is what the promise allows, counted."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from ops.servers import RabbitMQServer
from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE, FAILED_QUEUE
from shared.channels import PRIORITIES, Lane, Priority
from shared.clock import now_ms, rfc3339
from shared.headers import Travel
from tests.faults.crashing_worker import POINTS
from tests.faults.crew import Crew, publishing, worker_environment
from tests.faults.provider import Vendors, vendors
from tests.integration.workbench import Bench, envelope
from tests.waiting import eventually_async

KILLS = 25
#: prefetch of a worker that is killed at random
IN_HAND = 32
#: two ticks of the broker's counters, seconds
TICKS_S = 1.2


async def publish(bench: Bench, ids: list[str]) -> None:
    """Straight onto the three lanes, in turn."""
    headers = Travel(accepted_at=rfc3339(now_ms())).to_headers()
    publications = [
        Publication(EXCHANGE, Lane("push", PRIORITIES[n % 3]).routing_key, envelope("push", rid), headers, rid)
        for n, rid in enumerate(ids)
    ]
    assert not any(await bench.publisher.publish_all(publications, 30))


async def accepted_calls_reach(box: Vendors, target: int) -> None:
    async def reached() -> bool:
        return await box.accepted_calls() >= target

    await eventually_async(reached, deadline_s=60)


async def all_accepted(box: Vendors, ids: set[str], deadline_s: float) -> Counter[str]:
    """Wait until each of ``ids`` and nothing else has been accepted; how often each was."""

    async def reached() -> Counter[str] | None:
        if await box.accepted_calls() < len(ids):
            return None
        accepted = await box.accepted()
        return accepted if set(accepted) == ids else None

    accepted = await eventually_async(reached, deadline_s=deadline_s)
    assert accepted is not None
    return accepted


async def drained(rabbitmq: RabbitMQServer, vhost: str) -> None:
    """Wait until no queue but failed.queue holds anything, ready, unacked or held, at two ticks of its counters."""
    empty_since: list[float] = []

    async def empty() -> bool:
        queues = await asyncio.to_thread(rabbitmq.list_queues, vhost)
        if any(counts.messages for name, counts in queues.items() if name != FAILED_QUEUE):
            empty_since.clear()
            return False
        empty_since.append(time.monotonic())
        return empty_since[-1] - empty_since[0] > TICKS_S

    await eventually_async(empty, deadline_s=60)


def fresh_ids(count: int) -> list[str]:
    return [uuid.uuid4().hex for _ in range(count)]


async def test_three_thousand_messages_and_twenty_five_kills(
    rabbitmq: RabbitMQServer, vhost: str, redis_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    print(f"seed {seed}")
    ids = fresh_ids(3000)
    async with (
        publishing(rabbitmq.vhost_url(vhost), redis_url) as bench,
        vendors() as box,
        Crew(worker_environment(bench.settings, box.port, PREFETCH=str(IN_HAND)), tmp_path) as crew,
    ):
        # Slow enough for a kill to find work in hand.
        await box.slow(20)
        crew.start(2)
        share = len(ids) // KILLS
        for kill in range(KILLS):
            # Somewhere in the work on this share, or on what the last death has left behind.
            target = await box.accepted_calls() + draw.randrange(1, share)
            await publish(bench, ids[kill * share : (kill + 1) * share])
            await accepted_calls_reach(box, target)
            crew.kill(draw.randrange(2))
            await crew.died(kill + 1)
        await all_accepted(box, set(ids), deadline_s=90)
        await drained(rabbitmq, vhost)
        assert await crew.stop() == [0, 0]
        assert crew.deaths == KILLS
        doubles = await box.accepted_calls() - len(ids)
        counted = crew.counted()
        print(f"lost 0, sent twice {doubles}, counted {dict(counted)}")
        assert [headers for headers, _ in await bench.failed()] == []
        assert doubles <= counted["takeovers"] + counted["ambiguous"]
        # A death can double no more than what was in hand.
        assert doubles <= KILLS * IN_HAND + counted["ambiguous"]


#: one worker, nobody to run out of time beside it: what the dead hold is soon free
SHORT_LEASE = {"lease_s": 1.0, "handling_budget_s": 0.45}
#: with one message in hand, a death there sends exactly so many a second time
DOUBLES_AT = {"after_claim": 0, "before_send": 0, "after_send": 1, "after_done": 0, "before_ack": 0}


@pytest.mark.parametrize("point", POINTS)
async def test_a_death_at_each_point_doubles_only_what_was_sent_and_not_recorded(
    rabbitmq: RabbitMQServer, vhost: str, redis_url: str, tmp_path: Path, point: str
) -> None:
    ids = fresh_ids(30)
    async with (
        publishing(rabbitmq.vhost_url(vhost), redis_url, **SHORT_LEASE) as bench,
        vendors() as box,
        Crew(worker_environment(bench.settings, box.port, PREFETCH="1"), tmp_path, point, nth=10) as crew,
    ):
        await publish(bench, ids)
        crew.start(1)
        await all_accepted(box, set(ids), deadline_s=40)
        await drained(rabbitmq, vhost)
        assert await crew.stop() == [0]
        assert crew.deaths == 1
        assert await box.accepted_calls() - len(ids) == DOUBLES_AT[point]
        assert await bench.failed() == []


@pytest.mark.parametrize(("lane", "position"), [("high", 5), ("medium", 100), ("low", 195)])
async def test_a_message_that_kills_its_worker_takes_no_innocent_along(
    rabbitmq: RabbitMQServer, vhost: str, redis_url: str, tmp_path: Path, lane: Priority, position: int
) -> None:
    async with (
        publishing(rabbitmq.vhost_url(vhost), redis_url, **SHORT_LEASE) as bench,
        vendors() as box,
        Crew(worker_environment(bench.settings, box.port), tmp_path, "poison", stubborn=True) as crew,
    ):
        ids = fresh_ids(600)
        poison = 3 * position + PRIORITIES.index(lane)
        ids[poison] = "poison"
        await publish(bench, ids)
        crew.start(1)
        innocents = set(ids) - {"poison"}
        await all_accepted(box, innocents, deadline_s=120)
        [(headers, _)] = await eventually_async(bench.failed, deadline_s=60)
        assert headers["notify-failed-reason"] == "delivery_limit"
        await drained(rabbitmq, vhost)
        assert await crew.stop() == [0]
        assert set(await box.accepted()) == innocents
        print(f"{crew.deaths} deaths")
        assert 3 <= crew.deaths <= 21
