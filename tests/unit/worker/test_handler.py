"""Tests a message that meets a bug outside the rule book: it is counted, logged, retried after a delay, and ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.broker import topology
from shared.errors import RedisUnavailable, Refusal, Refused
from shared.idempotency.claims import ClaimAnswer
from shared.message.headers import DeliveryState, read_state
from shared.message.incoming import Incoming
from shared.settings.load import load_settings
from shared.worker import settler as settling
from shared.worker.forwards import Forwards
from shared.worker.handler import Handler
from shared.worker.poison import GIVE_UP_AT
from shared.worker.recorder import Recorder
from shared.worker.settler import Settler
from tests.support.fakes.worker import YES, Bench, ScriptedPublisher
from tests.support.waiting import eventually_async


class HandlingBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.publisher = ScriptedPublisher(self.journal)
        settings = load_settings(env_file=None)
        self.forwards = Forwards("push", self.metrics)
        recorder = Recorder(self.claims, self.metrics, patience_s=0.0)
        self.settler = Settler(
            "push", self.publisher, recorder, self.forwards, self.metrics, settings.broker.retry_levels_s
        )
        self.handler = Handler("push", self.delivery, self.claims, self.settler, settings, self.metrics)

    def incoming(self, **fields: Any) -> Incoming:
        return self.job(**fields).received.incoming

    @property
    def failures(self) -> float:
        return self.metrics.registry.get_sample_value("notify_handler_failed_total", {"channel": "push"}) or 0


@pytest.fixture
def lines() -> Iterator[Sequence[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def bench(lines: Sequence[MutableMapping[str, Any]]) -> HandlingBench:
    """Makes a bench whose log is captured: printing a traceback takes longer than all the rest."""
    return HandlingBench()


async def bug(*_: Any) -> Any:
    raise TypeError("a bug")


def break_claim(bench: HandlingBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.claims, "claim", bug)


async def test_a_message_is_claimed_sent_recorded_and_acked(bench: HandlingBench) -> None:
    assert await bench.handler.handle(bench.incoming()) is None
    assert bench.journal == ["claim", "done fcm id-of-t1", "ack"]
    assert bench.failures == 0


async def test_a_message_that_meets_a_bug_is_retried_once_after_a_delay(
    bench: HandlingBench, lines: Sequence[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_claim(bench, monkeypatch)
    assert await bench.handler.handle(bench.incoming(state=DeliveryState(attempt=2, deferrals=3))) is None
    (publication,) = bench.publisher.tried
    state = read_state(publication.headers)
    assert publication.exchange.startswith("notifications.retry.")
    assert (state.attempt, state.deferrals, state.redeliveries) == (2, 4, 1)
    assert bench.journal[-1] == "ack"
    assert bench.failures == 1
    (line,) = [line for line in lines if line["event"] == "handler_failed"]
    assert line["exc_info"]


async def test_a_message_that_always_meets_a_bug_ends_in_failed_queue(
    bench: HandlingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_claim(bench, monkeypatch)
    state = DeliveryState()
    while not bench.publisher.tried or bench.publisher.tried[-1].exchange != "notifications.failed":
        await bench.handler.handle(bench.incoming(state=state))
        state = read_state(bench.publisher.tried[-1].headers)
        assert len(bench.publisher.tried) <= GIVE_UP_AT
    assert bench.publisher.tried[-1].headers["notify-failed-reason"] == "delivery_limit"
    assert "a bug" in bench.publisher.tried[-1].headers["notify-failed-error"]
    assert bench.failures == GIVE_UP_AT


async def test_a_bug_after_the_ack_forwards_nothing(bench: HandlingBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.settler, "_log_sent", lambda *_: 1 / 0)
    await bench.handler.handle(bench.incoming())
    assert bench.journal == ["claim", "done fcm id-of-t1", "ack"]
    assert bench.failures == 1


async def test_a_message_that_the_broker_redelivers_is_not_forwarded(
    bench: HandlingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_claim(bench, monkeypatch)
    incoming = bench.incoming()
    book: Any = incoming.book
    book.is_open = False
    await bench.handler.handle(incoming)
    assert (bench.publisher.tried, bench.failures) == ([], 1)


async def test_a_handler_that_failed_does_not_block_the_other_copies(
    bench: HandlingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_claim(bench, monkeypatch)
    await bench.handler.handle(bench.incoming())
    monkeypatch.undo()
    assert await bench.handler.handle(bench.incoming()) is None
    assert "done fcm id-of-t1" in bench.journal


async def test_a_held_message_releases_its_claim_unless_redis_is_unavailable(
    bench: HandlingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.providers.breaker("fcm").force("open")
    assert await bench.handler.handle(bench.incoming()) == "provider"
    assert bench.journal == ["claim", "release"]
    bench.journal.clear()

    async def away(_request_id: str) -> set[str]:
        raise RedisUnavailable("away")

    monkeypatch.setattr(bench.claims, "served_tokens", away)
    assert await bench.handler.handle(bench.incoming(recipient={"push_tokens": ["a", "b"]})) == "redis"
    assert bench.journal == ["claim"]
    bench.claims.away = True
    assert await bench.handler.handle(bench.incoming()) == "redis"
    assert bench.journal == ["claim", "claim: away"]


async def test_copies_wait_for_another_until_the_forward_of_that_one_fails(
    bench: HandlingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "REPEAT_FIRST_S", 0.001)
    ladder = {topology.retry_exchange(level_s) for level_s in load_settings(env_file=None).broker.retry_levels_s}
    bench.claims.answers.extend((YES, *[ClaimAnswer("held", lease_left_s=1.0)] * 100))
    bench.provider.answers["t1"] = Refused(Refusal.PAYLOAD_REJECTED, "no")
    bench.provider.gate, bench.publisher.missing = asyncio.Event(), {topology.FAILED_EXCHANGE, *ladder}
    handlings = [asyncio.create_task(bench.handler.handle(bench.incoming())) for _ in range(3)]
    await eventually_async(lambda: bench.journal.count("claim") == 3)
    assert len(bench.forwards) == 0
    bench.provider.gate.set()
    # The copies are forwarded too, and do not wait for one another either.
    await eventually_async(lambda: len(bench.forwards) == 3)
    bench.publisher.missing = set()
    await asyncio.wait_for(asyncio.gather(*handlings), 5)
    assert Counter(publication.exchange for publication in bench.publisher.confirmed) == {
        topology.FAILED_EXCHANGE: 1,
        topology.retry_exchange(5): 2,
    }


async def test_a_message_that_may_crash_its_worker_is_not_attempted(bench: HandlingBench) -> None:
    await bench.handler.handle(bench.incoming(state=DeliveryState(redeliveries=GIVE_UP_AT)))
    assert bench.publisher.tried[-1].headers["notify-failed-reason"] == "delivery_limit"
    assert bench.journal == ["claim", "confirmed notifications.failed", "handed on end of life 0", "ack"]
    assert bench.provider.messages == []


@pytest.mark.parametrize(
    ("fields", "users", "templates"),
    [
        ({}, True, False),
        ({"template_code": "HELLO"}, True, True),
        ({"recipient": {"push_tokens": ["t"]}}, False, False),
        ({"recipient": {"push_tokens": ["t"]}, "template_code": "HELLO"}, False, True),
    ],
)
def test_only_a_message_that_needs_a_look_up_waits_for_its_source(
    bench: HandlingBench, fields: dict[str, Any], users: bool, templates: bool
) -> None:
    incoming = bench.incoming(**fields)
    assert bench.handler.waits_for(incoming, "users") is users
    assert bench.handler.waits_for(incoming, "templates") is templates
    assert bench.handler.waits_for(incoming, "redis")
    assert bench.handler.waits_for(incoming, "provider")
