"""Tests one send: prepared before its permit, within the provider's connections, judged only by its answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.clock import now_ms, rfc3339
from shared.delivery.job import Job
from shared.errors import Refusal, Refused
from shared.idempotency.claims import ClaimAnswer
from shared.message.outcome import Dead, Duplicate, Hold, Outcome, Retry, Sent
from shared.providers.provider import Message
from shared.settings.groups.breaker import BreakerPolicy
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


async def test_redis_clock_ends_the_life_of_a_message_that_waited() -> None:
    bench = Bench(connections=1)
    async with one_waiting(bench, bench.job(expires_at=rfc3339(now_ms() + 60_000))) as (second, gate):
        bench.claims.ahead_ms = 61_000
        gate.set()
        outcome = await second
    assert isinstance(outcome, Dead)
    assert outcome.reason == "expired"


async def test_a_message_that_waited_tells_the_provider_what_is_left_of_its_life() -> None:
    bench = Bench(connections=1)
    began_ms = now_ms()
    async with one_waiting(bench, bench.job(expires_at=rfc3339(began_ms + 60_900))) as (second, gate):
        await eventually_async(lambda: now_ms() > began_ms + 1_000)
        gate.set()
        assert isinstance(await second, Sent)
    life_s = bench.provider.messages[-1].life_s
    assert life_s is not None and life_s < 60


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


@pytest.mark.parametrize(
    ("refusal", "paused"),
    [(Refusal.QUOTA_EXCEEDED, True), (Refusal.RATE_EXCEEDED, True), (Refusal.THROTTLED, False)],
)
async def test_only_a_limit_of_the_whole_account_pauses_the_provider_and_uses_no_attempt(
    refusal: Refusal, paused: bool, bench: Bench
) -> None:
    bench.provider.answers["t1"] = Refused(refusal, "429", 60)
    assert await bench.delivery.attempt(bench.job()) == Retry(60, "throttled", not paused, "429", "fcm")
    assert bench.providers.is_open is paused


def to(target: str) -> dict[str, Any]:
    return {"recipient": {"push_tokens": [target]}, "request_id": f"to-{target}"}


UNPROVEN = [Refusal.REJECTED, Refusal.UNSUPPORTED, Refusal.CREDENTIALS, Refusal.QUOTA_EXCEEDED]


@pytest.mark.parametrize("refusal", UNPROVEN)
async def test_a_refusal_that_proves_nothing_about_the_message_sends_it_to_the_next_provider(refusal: Refusal) -> None:
    bench = Bench(with_second=True)
    bench.provider.answers["t1"] = Refused(refusal, "no")
    assert await bench.delivery.attempt(bench.job()) == Sent("fcm2", "id-of-t1")
    assert (bench.provider.targets, bench.second.targets) == (["t1"], ["t1"])


@pytest.mark.parametrize("refusal", [Refusal.RECIPIENT_INVALID, Refusal.PAYLOAD_REJECTED])
async def test_a_proven_refusal_ends_the_message_at_the_first_provider(refusal: Refusal) -> None:
    bench = Bench(with_second=True)
    bench.provider.answers["t1"] = Refused(refusal, "no")
    assert isinstance(await bench.delivery.attempt(bench.job()), Dead)
    assert bench.second.targets == []


async def test_what_one_provider_cannot_prepare_another_may_send() -> None:
    bench = Bench(with_second=True)
    bench.provider.unpreparable["t1"] = Refused(Refusal.UNSUPPORTED, "only ASCII")
    assert await bench.delivery.attempt(bench.job()) == Sent("fcm2", "id-of-t1")


async def test_a_refusal_that_may_have_been_an_acceptance_is_not_sent_elsewhere() -> None:
    bench = Bench(with_second=True)
    bench.provider.answers["t1"] = Refused(Refusal.REJECTED, "half", ambiguous=True)
    assert isinstance(await bench.delivery.attempt(bench.job()), Dead)
    assert (bench.second.targets, bench.ambiguous) == ([], {"no_answer": 1})


@pytest.mark.parametrize("with_second", [True, False])
async def test_a_refusal_after_the_text_is_counted_if_another_provider_follows(with_second: bool) -> None:
    bench = Bench(with_second=with_second)
    bench.provider.answers["t1"] = Refused(Refusal.REJECTED, "554 after the text", handed_over=True)
    outcome = await bench.delivery.attempt(bench.job())
    assert (type(outcome), bench.ambiguous) == ((Sent, {"refused": 1}) if with_second else (Dead, {}))


async def test_a_message_that_all_providers_refuse_is_dead_and_every_answer_is_named() -> None:
    bench = Bench(with_second=True)
    bench.provider.answers["t1"] = Refused(Refusal.REJECTED, "554")
    bench.second.answers["t1"] = Refused(Refusal.UNSUPPORTED, "21408")
    with capture_logs() as lines:
        outcome = await bench.delivery.attempt(bench.job())
    assert outcome == Dead("provider_refused", "554; 21408", "fcm2", counted=True)
    assert not [line for line in lines if line["event"] == "target_dead"]


async def test_a_refused_message_waits_for_a_next_provider_that_is_not_available() -> None:
    bench = Bench(with_second=True)
    bench.provider.answers["t1"] = Refused(Refusal.REJECTED, "554")
    bench.providers.breaker("fcm2").force("open")
    outcome = await bench.delivery.attempt(bench.job())
    assert outcome == Retry(5, "provider_unavailable", True, "554; no other provider is available", "fcm")


async def test_several_recipients_refused_in_a_row_speak_for_the_account_and_no_more_messages_die() -> None:
    bench = Bench()
    row = BreakerPolicy.rejected_targets
    for n in range(30):
        bench.provider.answers[f"x{n}"] = Refused(Refusal.REJECTED, "554")
    bench.provider.gate = asyncio.Event()
    attempts = [asyncio.create_task(bench.delivery.attempt(bench.job(**to(f"x{n}")))) for n in range(30)]
    await eventually_async(lambda: bench.provider.at_work == 30)
    bench.provider.gate.set()
    outcomes = await asyncio.gather(*attempts)
    assert sum(isinstance(outcome, Dead) for outcome in outcomes) == row - 1
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Retry)} == {"misconfigured"}
    assert not any(outcome.counted for outcome in outcomes if isinstance(outcome, Retry))
    assert bench.providers.worst_state == "open"


async def test_a_success_between_or_the_same_recipient_again_does_not_speak_for_the_account() -> None:
    bench = Bench()
    for n in range(20):
        bench.provider.answers[f"x{n}"] = Refused(Refusal.REJECTED, "554")
        assert isinstance(await bench.delivery.attempt(bench.job(**to(f"x{n}"))), Dead)
        await bench.delivery.attempt(bench.job(**to("good")))
    for _ in range(20):
        assert isinstance(await bench.delivery.attempt(bench.job(**to("x1"))), Dead)
    assert bench.providers.worst_state == "closed"


async def test_the_old_tokens_of_one_person_do_not_speak_for_the_account() -> None:
    bench = Bench()
    tokens = [f"x{n}" for n in range(30)]
    bench.provider.answers = {token: Refused(Refusal.REJECTED, "SENDER_ID_MISMATCH") for token in tokens}
    for _ in range(3):
        outcome = await bench.delivery.attempt(bench.job(recipient={"push_tokens": tokens}))
        assert isinstance(outcome, Dead)
    assert bench.providers.worst_state == "closed"


async def test_unknown_recipients_in_a_row_do_not_speak_for_the_account() -> None:
    bench = Bench()
    for n in range(50):
        bench.provider.answers[f"x{n}"] = Refused(Refusal.RECIPIENT_INVALID, "UNREGISTERED")
        assert isinstance(await bench.delivery.attempt(bench.job(**to(f"x{n}"))), Dead)
    assert bench.providers.worst_state == "closed"


async def test_a_refused_account_is_restored_by_an_accepted_message_only() -> None:
    bench = Bench()
    breaker = bench.providers.breaker("fcm")
    bench.provider.answers = {
        "blamed": Refused(Refusal.CREDENTIALS, "401"),
        "unknown": Refused(Refusal.RECIPIENT_INVALID, "UNREGISTERED"),
        "refused": Refused(Refusal.REJECTED, "554"),
    }
    await bench.delivery.attempt(bench.job(**to("blamed")))
    breaker._open_until = 0
    for _ in range(5):
        assert isinstance(await bench.delivery.attempt(bench.job(**to("unknown"))), Dead)
    assert bench.providers.states() == {"fcm": "half_open"}
    assert isinstance(await bench.delivery.attempt(bench.job(**to("refused"))), Retry)
    assert bench.providers.states() == {"fcm": "open"}
    breaker._open_until = 0
    for _ in range(breaker.policy.successes):
        assert isinstance(await bench.delivery.attempt(bench.job(**to("good"))), Sent)
    assert breaker.state == "closed"


async def test_a_recipient_that_accused_the_account_and_was_disproved_does_not_stop_the_others_again() -> None:
    bench = Bench()
    breaker = bench.providers.breaker("fcm")
    bench.provider.answers["liar"] = Refused(Refusal.CREDENTIALS, "550 relay not permitted")
    assert isinstance(await bench.delivery.attempt(bench.job(**to("liar"))), Retry)
    assert bench.providers.states() == {"fcm": "open"}
    breaker._open_until = 0
    for n in range(breaker.policy.successes):
        await bench.delivery.attempt(bench.job(**to(f"good{n}")))
    outcome = await bench.delivery.attempt(bench.job(**to("liar")))
    assert isinstance(outcome, Retry)
    assert (outcome.counted, breaker.state) == (True, "closed")
    bench.provider.answers["another"] = Refused(Refusal.CREDENTIALS, "401")
    await bench.delivery.attempt(bench.job(**to("another")))
    assert breaker.state == "open"


@pytest.mark.parametrize("accepted", [("other", "other", "other", "only"), ("only", "other", "other", "other")])
async def test_a_recipient_that_is_accepted_after_the_account_was_mended_is_believed_again(
    accepted: tuple[str, ...], bench: Bench
) -> None:
    breaker = bench.providers.breaker("fcm")
    for _ in range(3):
        bench.provider.answers["only"] = Refused(Refusal.CREDENTIALS, "401")
        assert isinstance(await bench.delivery.attempt(bench.job(**to("only"))), Retry)
        assert bench.providers.states() == {"fcm": "open"}
        breaker._open_until = 0
        del bench.provider.answers["only"]
        for target in accepted:
            await bench.delivery.attempt(bench.job(**to(target)))
        assert bench.providers.states() == {"fcm": "closed"}


# -- too fast -----------------------------------------------------------------------------------------------------


def limited(bench: Bench, per_s: float, refused: Refused) -> list[float]:
    """Lets the first provider accept ``per_s`` calls within any second; returns the times of the refusals."""
    passed: deque[float] = deque()
    refusals: list[float] = []

    async def answer(message: Message) -> str:
        now = time.monotonic()
        while passed and passed[0] <= now - 1:
            passed.popleft()
        if len(passed) >= per_s:
            refusals.append(now)
            raise refused
        passed.append(now)
        return f"id-of-{message.target}"

    bench.provider._answer = answer  # type: ignore[method-assign]
    return refusals


async def test_a_provider_that_asks_for_less_speed_gets_it_and_every_message_is_sent_in_one_handling() -> None:
    bench = Bench(connections=10)
    refusals = limited(bench, 20, Refused(Refusal.RATE_EXCEEDED, "454 throttled"))
    began = time.monotonic()
    with capture_logs() as lines:
        outcomes = await asyncio.gather(*(bench.delivery.attempt(bench.job(**to(f"t{n}"))) for n in range(60)))
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert time.monotonic() - began < 6
    assert 0 < len(refusals) < 60
    assert bench.providers.worst_state == "closed"
    labels = {"channel": "push", "provider": "fcm"}
    assert bench.metrics.registry.get_sample_value("notify_throttled_total", labels) == len(refusals)
    assert 5 < (bench.metrics.registry.get_sample_value("notify_rate_limit", labels) or 0) < 100
    assert 1 <= len([line for line in lines if line["event"] == "provider_rate_limited"]) <= 3


async def test_a_message_is_not_sent_again_and_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.delivery.sender.RESEND_S", 0.5)
    bench = Bench()
    limited(bench, 0, Refused(Refusal.RATE_EXCEEDED, "454"))
    outcome = await bench.delivery.attempt(bench.job())
    assert outcome == Retry(5, "throttled", False, "454", "fcm")
    assert 2 <= len(bench.provider.messages) < 20


async def test_a_throttled_message_whose_life_ends_is_not_sent_again() -> None:
    bench = Bench()
    limited(bench, 0, Refused(Refusal.RATE_EXCEEDED, "454"))
    async with asyncio.timeout(10):
        outcome = await bench.delivery.attempt(bench.job(expires_at=rfc3339(now_ms() + 400)))
    assert isinstance(outcome, Dead)
    assert outcome.reason == "expired"


async def test_a_long_wait_for_a_turn_is_left_to_the_next_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.providers.failover.OVERFLOW_AFTER_S", 0.5)
    bench = Bench(with_second=True)
    limited(bench, 5, Refused(Refusal.RATE_EXCEEDED, "454"))
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*(bench.delivery.attempt(bench.job(**to(f"t{n}"))) for n in range(100)))
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert len(bench.second.targets) > 50


async def test_a_worker_that_stops_holds_the_messages_that_wait_for_their_turn() -> None:
    bench = Bench()
    limited(bench, 0, Refused(Refusal.RATE_EXCEEDED, "454"))
    attempts = [asyncio.create_task(bench.delivery.attempt(bench.job(**to(f"t{n}")))) for n in range(20)]
    await eventually_async(lambda: len(bench.provider.messages) >= 20)
    for attempt in attempts:
        attempt.cancel()
    assert set(await asyncio.gather(*attempts)) == {Hold("provider")}
