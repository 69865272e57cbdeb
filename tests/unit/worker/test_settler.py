"""Tests settling: forward, record, ack, in that order; no message is acked that is not stored elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from shared.broker.publisher import Publication
from shared.clock import now_ms, rfc3339
from shared.delivery.job import Job
from shared.errors import PublishRejected, PublishUnknown, PublishUnroutable
from shared.idempotency.claims import ClaimAnswer
from shared.message.headers import ERROR_BYTES, DeliveryState, read_state
from shared.message.outcome import Dead, Duplicate, Retry, Sent, Skipped
from shared.worker import recorder as recording
from shared.worker import settler as settling
from shared.worker.forwards import Forwards
from shared.worker.recorder import Recorder
from shared.worker.settler import Settler
from tests.support.fakes.worker import Bench, ScriptedPublisher

LEVELS_S = (1.0, 5.0, 15.0, 60.0)
RETRY = Retry(12, "provider_unavailable", counted=True, error="fcm 503", provider="fcm")
DEAD = Dead("recipient_invalid", "gone", "fcm", counted=True)
#: Headers that a broker adds, and one that another program may have written.
FOREIGN = {
    "x-death": [{"queue": "retry.push.5s.queue", "reason": "expired", "count": 2}],
    "x-first-death-reason": "expired",
    "x-delivery-count": 2,
    "trace-id": "abc",
}


class SettlingBench(Bench):
    def __init__(self, channel: str = "push") -> None:
        super().__init__(channel)
        self.publisher = ScriptedPublisher(self.journal)
        self.forwards = Forwards("push", self.metrics)
        recorder = Recorder(self.claims, self.metrics, patience_s=0.0)
        self.settler = Settler(channel, self.publisher, recorder, self.forwards, self.metrics, LEVELS_S)

    @property
    def forwarded(self) -> Publication:
        return self.publisher.tried[-1]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"channel": "push", **labels}) or 0


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SettlingBench:
    monkeypatch.setattr(settling, "REPEAT_FIRST_S", 0.001)
    monkeypatch.setattr(recording, "TRY_EVERY_S", 0.001)
    return SettlingBench()


def second_try(bench: SettlingBench, **fields: Any) -> Job:
    """Returns a message that was attempted once, deferred twice and replayed once."""
    state = DeliveryState(
        accepted_at=rfc3339(now_ms() - 5_000),
        attempt=1,
        deferrals=2,
        replay=1_767_225_600_000,
        first_attempt_at="2026-01-01T00:00:00.000Z",
        last_error="fcm 500",
        redeliveries=2,
    )
    return bench.job(state=state, headers=FOREIGN, **fields)


# -- the order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "steps", "counted"),
    [
        (Sent("fcm", "id:1"), ["done fcm id:1", "ack"], ("delivered", {"provider": "fcm"})),
        (Skipped("opted_out"), ["done", "ack"], ("skipped", {"reason": "opted_out"})),
        (Duplicate("stale"), ["ack"], ("duplicates", {})),
        (
            RETRY,
            ["confirmed notifications.retry.15s", "handed on 2 of life 1767225600000", "ack"],
            ("retried", {"reason": "provider_unavailable"}),
        ),
        (
            # A retry that is not counted leaves the original and its copy both claimable.
            Retry(1, "misconfigured", counted=False),
            ["confirmed notifications.retry.1s", "handed on 1 of life 1767225600000", "ack"],
            ("retried", {"reason": "misconfigured"}),
        ),
        (
            DEAD,
            ["confirmed notifications.failed", "handed on end of life 1767225600000", "ack"],
            ("failed", {"reason": "recipient_invalid"}),
        ),
    ],
    ids=str,
)
async def test_a_message_is_forwarded_then_recorded_then_acked_and_counted(
    outcome: Any, steps: list[str], counted: tuple[str, dict[str, str]], bench: SettlingBench
) -> None:
    await bench.settler.settle(second_try(bench), outcome)
    assert bench.journal == steps
    name, labels = counted
    assert bench.count(f"notify_{name}_total", **labels) == 1


@pytest.mark.parametrize("outcome", [RETRY, DEAD], ids=["retry", "dead"])
async def test_a_copy_without_a_claim_is_forwarded_and_nothing_is_recorded(outcome: Any, bench: SettlingBench) -> None:
    job = second_try(bench)
    job.claim.held = False
    await bench.settler.settle(job, outcome)
    assert [line.split()[0] for line in bench.journal] == ["confirmed", "ack"]


# -- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [RETRY, DEAD], ids=["retry", "dead"])
@pytest.mark.parametrize("answer", ["yes", "held", "stale", "duplicate"])
async def test_a_forward_is_repeated_until_it_is_confirmed_regardless_of_the_claim(
    outcome: Any, answer: Any, bench: SettlingBench
) -> None:
    bench.publisher.failures.extend((PublishUnknown("silence"), PublishRejected("full"), PublishUnroutable("gone")))
    bench.claims.answers.extend([ClaimAnswer(answer)] * 3)
    await bench.settler.settle(bench.job(), outcome)
    steps = [line.split()[0] for line in bench.journal]
    assert steps == [*("not", "claim") * 3, "confirmed", "handed", "ack"]
    assert bench.count("notify_forward_repeated_total") == 3


async def test_a_forward_continues_while_redis_is_unavailable(bench: SettlingBench) -> None:
    bench.publisher.failures.append(PublishUnknown("silence"))
    bench.claims.away = True
    await bench.settler.settle(bench.job(), RETRY)
    assert bench.journal[0:3] == ["not confirmed", "claim: away", "confirmed notifications.retry.15s"]
    assert bench.journal[-1] == "ack"


async def test_a_repeat_without_a_claim_takes_no_claim(bench: SettlingBench) -> None:
    bench.publisher.failures.append(PublishUnknown("silence"))
    job = bench.job()
    job.claim.held = False
    await bench.settler.settle(job, RETRY)
    assert bench.journal == ["not confirmed", "confirmed notifications.retry.15s", "ack"]


@pytest.mark.parametrize("outcome", [RETRY, DEAD], ids=["retry", "dead"])
@pytest.mark.parametrize(("claimed", "goes_on"), [(True, True), (False, False)], ids=["claimed", "unclaimed"])
async def test_a_forward_whose_channel_is_lost_goes_on_only_with_a_claim(
    outcome: Any, claimed: bool, goes_on: bool, bench: SettlingBench
) -> None:
    bench.publisher.failures.append(PublishUnroutable("gone"))
    job = bench.job()
    job.claim.held = claimed
    book: Any = job.received.incoming.book
    book.is_open = False
    await bench.settler.settle(job, outcome)
    assert len(bench.publisher.tried) == 1 + goes_on
    assert job.received.incoming.acked == goes_on
    assert len(bench.forwards) == 0


async def test_a_repeated_forward_is_the_same_failed_message(bench: SettlingBench) -> None:
    bench.publisher.failures.extend([PublishUnknown("silence")] * 2)
    job = bench.job()
    await bench.settler.settle(job, DEAD)
    # And once more after a crash before the ack: the broker redelivers the same message.
    await bench.settler.settle(job, DEAD)
    assert len({publication.headers["notify-failed-id"] for publication in bench.publisher.tried}) == 1
    assert len(bench.publisher.tried) == 4


async def test_another_outcome_is_another_failed_message(bench: SettlingBench) -> None:
    job = bench.job()
    await bench.settler.settle(job, DEAD)
    await bench.settler.settle(job, Dead("expired"))
    await bench.settler.settle(second_try(bench), DEAD)
    assert len({publication.headers["notify-failed-id"] for publication in bench.publisher.tried}) == 3


async def test_a_success_that_cannot_be_recorded_is_acked_and_counted(bench: SettlingBench) -> None:
    bench.claims.away = True
    await bench.settler.settle(bench.job(), Sent("fcm", "1"))
    assert bench.journal[-1] == "ack"
    assert set(bench.journal[:-1]) == {"done fcm 1: away"}
    assert bench.metrics.registry.get_sample_value("notify_marker_lost_total") == 1


# -- what travels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [RETRY, DEAD, Retry(1, "misconfigured", counted=False)], ids=str)
@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "unclaimed"])
async def test_headers_are_built_anew_and_the_body_stays(outcome: Any, claimed: bool, bench: SettlingBench) -> None:
    job = second_try(bench, lane="high")
    job.claim.held = claimed
    await bench.settler.settle(job, outcome)
    assert all(name.startswith("notify-") for name in bench.forwarded.headers)
    assert bench.forwarded.body is job.received.incoming.body
    assert bench.forwarded.routing_key == "push.high"
    assert bench.forwarded.correlation_id == "r-1"


@pytest.mark.parametrize(
    ("outcome", "travels"),
    [
        (RETRY, (2, 2, "fcm 503")),
        (Retry(1, "directory_unavailable", counted=False), (1, 3, "fcm 500")),
    ],
    ids=["counted", "uncounted"],
)
async def test_a_retry_travels_with_its_attempt_or_one_deferral_more_and_is_no_longer_suspect(
    outcome: Retry, travels: tuple[int, int, str], bench: SettlingBench
) -> None:
    job = second_try(bench)
    await bench.settler.settle(job, outcome)
    state = read_state(bench.forwarded.headers)
    assert (state.attempt, state.deferrals, state.last_error) == travels
    assert (state.replay, state.accepted_at) == (job.received.state.replay, job.received.state.accepted_at)
    assert state.first_attempt_at == "2026-01-01T00:00:00.000Z"
    assert state.redeliveries == 0


async def test_a_message_without_a_time_of_acceptance_gets_a_lasting_one(bench: SettlingBench) -> None:
    job = bench.job(state=DeliveryState())
    await bench.settler.settle(job, RETRY)
    assert read_state(bench.forwarded.headers).accepted_at == rfc3339(job.received.accepted_ms)


async def test_the_time_of_the_first_attempt_is_that_of_the_first_call(bench: SettlingBench) -> None:
    never_called, called = bench.job(), bench.job()
    called.called = True
    await bench.settler.settle(never_called, Retry(1, "directory_unavailable", counted=False))
    assert read_state(bench.forwarded.headers).first_attempt_at == ""
    await bench.settler.settle(called, RETRY)
    assert read_state(bench.forwarded.headers).first_attempt_at != ""


async def test_an_unclaimed_copy_carries_on_what_is_known_of_its_redeliveries(bench: SettlingBench) -> None:
    job = second_try(bench)
    job.received.incoming.delivery_count = 3
    job.claim.held = False
    await bench.settler.settle(job, Retry(1, "claimed_elsewhere", counted=False))
    assert read_state(bench.forwarded.headers).redeliveries == 5


async def test_a_failed_message_contains_all_that_an_operator_needs(bench: SettlingBench) -> None:
    job = second_try(bench, lane="low")
    await bench.settler.settle(job, DEAD)
    headers = dict(bench.forwarded.headers)
    assert headers.pop("notify-failed-id")
    assert headers.pop("notify-failed-at")
    assert headers == {
        "notify-failed-reason": "recipient_invalid",
        "notify-failed-error": "gone",
        "notify-failed-provider": "fcm",
        "notify-failed-attempts": 2,
        "notify-failed-queue": "push.low.queue",
        "notify-first-attempt-at": "2026-01-01T00:00:00.000Z",
        "notify-accepted-at": job.received.state.accepted_at,
        "notify-replay": 1_767_225_600_000,
    }


@pytest.mark.parametrize("kind", ["retry", "dead"])
async def test_a_long_error_is_cut(kind: str, bench: SettlingBench) -> None:
    error = "é" * 140_000
    outcome = Retry(1, "unexpected", True, error) if kind == "retry" else Dead("payload_rejected", error)
    await bench.settler.settle(bench.job(), outcome)
    longest = max(len(str(value).encode()) for value in bench.forwarded.headers.values())
    assert longest == ERROR_BYTES


@pytest.mark.parametrize(("delay_s", "level"), [(0.1, "1s"), (1, "1s"), (1.1, "5s"), (60, "1m"), (600, "1m")])
async def test_a_delay_is_rounded_up_to_a_level(delay_s: float, level: str, bench: SettlingBench) -> None:
    await bench.settler.settle(bench.job(), Retry(delay_s, "throttled", counted=True))
    assert bench.forwarded.exchange == f"notifications.retry.{level}"


async def test_an_unreadable_message_is_kept_with_its_reason(bench: SettlingBench) -> None:
    job = bench.job()
    await bench.settler.settle_unclaimed(job.received, Dead("invalid_json", "line 1"))
    assert bench.journal == ["confirmed notifications.failed", "ack"]
    assert bench.forwarded.headers["notify-failed-reason"] == "invalid_json"
    assert bench.forwarded.body is job.received.incoming.body
