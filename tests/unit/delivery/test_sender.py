"""Tests one send: prepared before its permit, within the provider's connections, judged only by its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from shared.clock import now_ms, rfc3339
from shared.delivery.job import Job
from shared.errors import Refusal, Refused
from shared.idempotency.claims import ClaimAnswer
from shared.message.outcome import Dead, Duplicate, Hold, Outcome, Retry, Sent
from tests.support.fakes.worker import Bench
from tests.support.waiting import eventually_async

BAD_ADDRESS = Refused(Refusal.RECIPIENT_INVALID, "not an address")


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- prepared first -----------------------------------------------------------------------------------------------


async def test_a_message_for_which_no_request_can_be_built_is_dead_without_an_attempt(bench: Bench) -> None:
    bench.provider.unpreparable["t1"] = BAD_ADDRESS
    job = bench.job()
    assert await bench.delivery.attempt(job) == Dead("recipient_invalid", "not an address", "fcm")
    assert (job.called, bench.provider.messages) == (False, [])


async def test_bad_addresses_do_not_close_the_breaker_of_a_dead_provider(bench: Bench) -> None:
    breaker = bench.providers.breaker("fcm")
    breaker.force("open")
    breaker.force(None)
    bench.provider.unpreparable["t1"] = BAD_ADDRESS
    for _ in range(breaker.policy.successes):
        assert isinstance(await bench.delivery.attempt(bench.job()), Dead)
    assert breaker.is_open
    bench.provider.answers["t2"] = Refused(Refusal.UNAVAILABLE, "503")
    await bench.delivery.attempt(bench.job(recipient={"push_tokens": ["t2"]}))
    assert breaker.state == "open"


async def test_a_bug_in_the_preparation_is_not_the_providers_fault(bench: Bench) -> None:
    bench.provider.unpreparable["t1"] = KeyError("k")
    with capture_logs() as lines:
        for _ in range(10):
            assert await bench.delivery.attempt(bench.job()) == Retry(5, "unexpected", True, "KeyError('k')")
    assert [line["event"] for line in lines] == ["handling_failed_unexpectedly"] * 10
    assert bench.providers.worst_state == "closed"
    assert bench.ambiguous == {}


# -- room ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def one_waiting(bench: Bench, job: Job) -> AsyncIterator[tuple[asyncio.Task[Outcome], asyncio.Event]]:
    """Starts a send that holds the only connection; yields the attempt of ``job`` behind it and what ends the send."""
    gate = bench.provider.gate = asyncio.Event()
    first = asyncio.create_task(bench.delivery.attempt(bench.job(recipient={"push_tokens": ["first"]})))
    await eventually_async(lambda: bench.provider.at_work == 1)
    second = asyncio.create_task(bench.delivery.attempt(job))
    await eventually_async(lambda: bench.journal == ["claim", "claim"])
    try:
        yield second, gate
    finally:
        gate.set()
        await asyncio.wait([first, second], timeout=10)


async def test_no_more_calls_are_in_progress_than_connections_and_waiting_is_no_failure() -> None:
    bench = Bench(connections=3)
    bench.provider.gate = asyncio.Event()
    jobs = [bench.job(recipient={"push_tokens": [f"t{n}-{m}" for m in range(20)]}) for n in range(4)]
    attempts = [asyncio.create_task(bench.delivery.attempt(job)) for job in jobs]
    await eventually_async(lambda: bench.provider.at_work == 3)
    bench.provider.gate.set()
    async with asyncio.timeout(20):
        assert all(isinstance(outcome, Sent) for outcome in await asyncio.gather(*attempts))
    assert len(bench.provider.messages) == 80
    assert bench.provider.most_at_work == 3
    assert bench.providers.worst_state == "closed"


async def test_a_send_that_waited_claims_again_and_obeys_the_answer() -> None:
    bench = Bench(connections=1)
    budget_s = bench.provider.timeout_s + 1.05
    began = time.monotonic()
    async with one_waiting(bench, bench.job(budget_s=budget_s)) as (second, gate):
        await eventually_async(lambda: time.monotonic() > began + 0.2)
        bench.claims.answers.append(ClaimAnswer("stale"))
        gate.set()
        assert await second == Duplicate("stale")
    assert bench.provider.targets == ["first"]


async def test_a_message_whose_life_ended_while_it_waited_is_not_sent() -> None:
    bench = Bench(connections=1)
    expires_ms = now_ms() + 200
    async with one_waiting(bench, bench.job(expires_at=rfc3339(expires_ms))) as (second, gate):
        await eventually_async(lambda: now_ms() > expires_ms)
        gate.set()
        outcome = await second
    assert isinstance(outcome, Dead)
    assert outcome.reason == "expired"
    assert bench.provider.targets == ["first"]


async def test_a_message_that_waited_while_the_breaker_opened_is_held() -> None:
    bench = Bench(connections=1)
    bench.provider.answers["first"] = Refused(Refusal.CREDENTIALS, "401")
    async with one_waiting(bench, bench.job()) as (second, gate):
        gate.set()
        assert await second == Hold("provider")
    assert bench.provider.targets == ["first"]


async def test_a_message_that_waits_when_the_worker_stops_is_held_and_keeps_no_slot() -> None:
    bench = Bench(connections=1)
    async with one_waiting(bench, bench.job()) as (second, _):
        second.cancel()
        assert await second == Hold("provider")
    assert bench.ambiguous == {}
    async with asyncio.timeout(20):
        assert isinstance(await bench.delivery.attempt(bench.job()), Sent)


# -- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("refusal", "paused"), [(Refusal.QUOTA_EXCEEDED, True), (Refusal.THROTTLED, False)])
async def test_only_the_quota_of_the_whole_account_pauses_the_provider(
    refusal: Refusal, paused: bool, bench: Bench
) -> None:
    bench.provider.answers["t1"] = Refused(refusal, "429", 60)
    assert await bench.delivery.attempt(bench.job()) == Retry(60, "throttled", True, "429", "fcm")
    assert bench.providers.is_open is paused
