"""Tests which deliveries count as one message: whose they are, what they say, and what an earlier version recorded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from shared.clock import now_ms, rfc3339
from shared.delivery.delivery import TARGETS_AT_ONCE
from shared.errors import Refusal, Refused
from shared.message.headers import DeliveryState, read_state
from shared.message.identity import body_hash, published_body
from shared.message.incoming import Incoming
from shared.message.privacy import digest
from shared.settings.load import load_settings
from shared.worker.executor import Executor
from shared.worker.forwards import Forwards
from shared.worker.handler import Handler
from shared.worker.recorder import Recorder
from shared.worker.settler import Settler
from tests.models.claim_table import Done, Passed, Working
from tests.support.fakes.claims import TableClaims
from tests.support.fakes.incoming import make_incoming
from tests.support.fakes.worker import Bench, ScriptedPublisher

OTP: dict[str, Any] = {
    "request_id": "otp-1",
    "notification_type": "push",
    "recipient": {"push_tokens": ["t1"]},
    "content": {"title": "Your code", "body": "123456"},
}
MINUTES_MS = 60_000


class Desk:
    """Handles messages as a worker does, with the claims in memory."""

    def __init__(self) -> None:
        self.claims = TableClaims()
        bench = Bench(claims=self.claims)
        self.provider = bench.provider
        self.publisher = ScriptedPublisher(bench.journal)
        settings = load_settings(env_file=None)
        recorder = Recorder(self.claims, bench.metrics, patience_s=0.0)
        self.forwards = Forwards("push", bench.metrics)
        levels_s = settings.broker.retry_levels_s
        settler = Settler("push", self.publisher, recorder, self.forwards, bench.metrics, levels_s)
        self.handler = Handler("push", bench.delivery, self.claims, settler, settings, bench.metrics)
        self.bench = bench

    async def handle(self, body: Any, client: str = "", **headers: Any) -> Incoming:
        incoming = self.incoming(body, client, **headers)
        assert await self.handler.handle(incoming) is None
        assert incoming.acked
        return incoming

    def incoming(self, body: Any, client: str = "", delivery_count: int = 0, **state: Any) -> Incoming:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = DeliveryState(accepted_at=rfc3339(now_ms()), client=client, **state).to_headers()
        return make_incoming(raw, headers=headers, delivery_count=delivery_count)

    @property
    def duplicates(self) -> float:
        return self.bench.metrics.registry.get_sample_value("notify_duplicates_total", {"channel": "push"}) or 0

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Returns (reason, error) of each message in failed.queue."""
        sent = [one.headers for one in self.publisher.tried if one.exchange == "notifications.failed"]
        return [(headers["notify-failed-reason"], headers["notify-failed-error"]) for headers in sent]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with capture_logs():
        yield Desk()


# -- identity is the message, not its bytes -----------------------------------------------------------------------


async def test_the_same_json_by_http_and_then_by_amqp_is_a_duplicate(desk: Desk) -> None:
    await desk.handle(published_body(OTP, "push"))
    await desk.handle(json.dumps(OTP, indent=2).encode())
    await desk.handle(dict(reversed(OTP.items())))
    await desk.handle({"channels": ["push"], "template_code": None, **OTP, "notification_type": None})
    assert (desk.provider.targets, desk.duplicates, desk.failed) == (["t1"], 3, [])


async def test_another_message_under_the_same_id_is_refused(desk: Desk) -> None:
    await desk.handle(OTP)
    await desk.handle(OTP | {"content": {"title": "Your code", "body": "654321"}})
    assert [reason for reason, _ in desk.failed] == ["request_id_reused"]


@pytest.mark.parametrize("replay", [0, 5])
@pytest.mark.parametrize("indent", [None, 2])
async def test_a_record_of_an_earlier_version_still_counts(desk: Desk, indent: int | None, replay: int) -> None:
    """Tests records that hold the hash of the bytes as they came, from a publisher that wrote them in its own way."""
    body = json.dumps(OTP, indent=indent).encode()
    key = ("push", "otp-1")
    desk.claims.records[key] = Done(body_hash(body), "fcm:1")
    await desk.handle(body, replay=replay)
    assert (desk.provider.targets, desk.duplicates) == ([], 1)
    desk.claims.records[key] = Passed("end", 0, body_hash(body))
    await desk.handle(body, replay=replay)
    assert (desk.provider.targets, desk.failed) == (["t1"] if replay else [], [])


async def test_a_message_that_an_earlier_version_began_keeps_its_hash_to_the_end(desk: Desk) -> None:
    body = json.dumps(OTP).encode()
    desk.claims.records["push", "otp-1"] = Passed(1, 0, body_hash(body))
    await desk.handle(body, attempt=1)
    assert desk.claims.record("otp-1") == Done(body_hash(body), "fcm:id-of-t1")
    await desk.handle(body)
    assert (desk.provider.targets, desk.duplicates) == (["t1"], 1)


async def test_what_an_earlier_gateway_published_for_a_request_is_known_when_it_is_repeated(desk: Desk) -> None:
    """Tests forms that its model wrote anew and that are no longer canonical, such as an offset of a time."""
    request = OTP | {"expires_at": "2099-01-01T02:00:00+02:00"}
    earlier = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    desk.claims.records["push", "otp-1"] = Done(body_hash(earlier), "fcm:1")
    await desk.handle(published_body(request | {"expires_at": "2099-01-01T02:00:00.000+02:00"}, "push"))
    assert (desk.provider.targets, desk.duplicates, desk.failed) == ([], 1, [])


# -- an id belongs to its sender ----------------------------------------------------------------------------------


async def test_one_client_cannot_take_anothers_request_id(desk: Desk) -> None:
    await desk.handle(OTP | {"content": {"title": "x", "body": "taken"}}, client="other")
    await desk.handle(OTP, client="shop")
    await desk.handle(OTP)
    assert len(desk.provider.messages) == 3
    assert (desk.failed, desk.duplicates) == ([], 0)
    await desk.handle(OTP, client="shop")
    assert (len(desk.provider.messages), desk.duplicates) == (3, 1)
    assert {key for _, key in desk.claims.records} == {"@other:otp-1", "@shop:otp-1", "otp-1"}


async def test_two_clients_with_one_id_are_handled_at_the_same_time(desk: Desk) -> None:
    desk.provider.gate = asyncio.Event()
    tasks = [asyncio.create_task(desk.handle(OTP, client=client)) for client in ("a", "b", "")]
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.provider.at_work == 3
    desk.provider.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("client", ["", "shop"])
async def test_copies_in_one_process_wait_for_each_other(desk: Desk, client: str) -> None:
    desk.provider.gate = asyncio.Event()
    tasks = [asyncio.create_task(desk.handle(OTP, client=client)) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.provider.at_work == 1
    desk.provider.gate.set()
    await asyncio.gather(*tasks)
    assert (desk.provider.targets, desk.duplicates, desk.publisher.tried) == (["t1"], 2, [])


async def test_targets_that_were_served_for_one_client_are_not_served_for_another(desk: Desk) -> None:
    several = OTP | {"recipient": {"push_tokens": ["t1", "t2"]}}
    for client in ("a", "b"):
        await desk.handle(several, client=client)
    assert Counter(desk.provider.targets) == {"t1": 2, "t2": 2}
    assert desk.claims.served.keys() == {"@a:otp-1", "@b:otp-1"}


async def test_a_retry_for_a_client_sends_only_to_the_targets_that_were_not_served(desk: Desk) -> None:
    several = OTP | {"recipient": {"push_tokens": ["t1", "t2"]}}
    desk.claims.served["otp-1"] = {digest("t2")}
    desk.provider.answers["t2"] = Refused(Refusal.UNAVAILABLE, "503")
    await desk.handle(several, client="a")
    desk.provider.answers.clear()
    await desk.handle(several, client="a", attempt=1)
    assert Counter(desk.provider.targets) == {"t1": 1, "t2": 2}


async def test_vendors_and_devices_tell_the_messages_of_two_clients_apart(desk: Desk) -> None:
    for client in ("a", "b", ""):
        await desk.handle(OTP, client=client)
    assert [message.key for message in desk.provider.messages] == ["@a:otp-1", "@b:otp-1", "otp-1"]
    assert {message.request_id for message in desk.provider.messages} == {"otp-1"}


async def test_the_client_travels_to_the_ladder_and_to_failed_queue(desk: Desk) -> None:
    desk.provider.answers["t1"] = Refused(Refusal.UNAVAILABLE, "503")
    await desk.handle(OTP, client="shop")
    desk.provider.answers["t1"] = Refused(Refusal.PAYLOAD_REJECTED, "no")
    await desk.handle(OTP, client="shop", attempt=1)
    assert [read_state(one.headers).client for one in desk.publisher.tried] == ["shop", "shop"]


async def test_outcomes_are_logged_with_their_client(desk: Desk) -> None:
    with capture_logs() as lines:
        await desk.handle(OTP, client="shop")
        await desk.handle(OTP, client="shop")
        await desk.handle(OTP | {"content": {"title": "x", "body": "y"}}, client="shop")
        await desk.handle(OTP)
    named = [(line["event"], line.get("client")) for line in lines]
    assert named == [("delivered", "shop"), ("duplicate", "shop"), ("failed", "shop"), ("delivered", None)]


@pytest.mark.parametrize("client", ["my shop", "a:b", "@shop", "x" * 65, 7, True, None, ["shop"]], ids=repr)
async def test_a_header_that_names_no_client_is_an_error_and_not_another_sender(desk: Desk, client: Any) -> None:
    incoming = make_incoming(orjson.dumps(OTP), headers={"notify-client": client})
    assert await desk.handler.handle(incoming) is None
    (reason, error) = desk.failed[0]
    assert reason == "invalid_envelope"
    assert error == "header notify-client: must be 1 to 64 characters of A-Z a-z 0-9 _ . -"
    assert (desk.provider.messages, incoming.acked) == ([], True)


# -- what could be a second send is counted ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seen", [{"attempt": 1}, {"deferrals": 1}, {"redeliveries": 1}, {"replay": 5}, {"delivery_count": 1}], ids=str
)
async def test_a_message_whose_record_redis_lost_is_counted(desk: Desk, seen: dict[str, Any]) -> None:
    await desk.handle(OTP, **seen)
    assert desk.claims.counted == {"state_lost": 1}


async def test_a_message_that_comes_for_the_first_time_is_not_counted(desk: Desk) -> None:
    await desk.handle(OTP)
    assert not desk.claims.counted


async def test_a_message_that_was_held_before_its_claim_is_not_counted_when_it_comes_back(desk: Desk) -> None:
    incoming = desk.incoming(OTP)
    await desk.handler.requeue(incoming, "redis")
    state = read_state(desk.publisher.tried[0].headers)
    assert (state.deferrals, state.unclaimed, desk.claims.records) == (1, True, {})
    await desk.handle(OTP, deferrals=1, unclaimed=True)
    assert not desk.claims.counted


async def test_a_message_that_has_been_claimed_once_is_known_to_redis_from_then_on(desk: Desk) -> None:
    desk.provider.answers["t1"] = Refused(Refusal.CREDENTIALS, "401")
    await desk.handle(OTP, deferrals=1, unclaimed=True)
    state = read_state(desk.publisher.tried[0].headers)
    assert (state.deferrals, state.unclaimed) == (2, False)


async def test_a_message_that_was_held_after_its_claim_is_counted_if_its_record_is_gone(desk: Desk) -> None:
    desk.bench.providers.breaker("fcm").force("open")
    incoming = desk.incoming(OTP)
    assert await desk.handler.handle(incoming) == "provider"
    await desk.handler.requeue(incoming, "provider")
    state = read_state(desk.publisher.tried[0].headers)
    assert (state.deferrals, state.unclaimed) == (1, False)
    desk.bench.providers.breaker("fcm").force(None)
    desk.claims.records.clear()
    await desk.handle(OTP, deferrals=1)
    assert desk.claims.counted == {"state_lost": 1}


async def test_an_orderly_stop_leaves_a_record_of_what_was_not_begun(desk: Desk) -> None:
    executor = Executor(desk.handler, desk.forwards, 10, lambda *_: None)
    waiting = [desk.incoming(OTP | {"request_id": f"r-{n}"}) for n in range(3)]
    for incoming in waiting:
        executor.add(incoming)
    suspect, unreadable = desk.incoming(OTP, delivery_count=3), desk.incoming(b"{")
    desk.claims.records["push", "otp-1"] = Passed(0, 0, body_hash(published_body(OTP, "push")))
    await executor.record_untried([suspect, unreadable])
    assert not any(incoming.acked for incoming in waiting)
    assert not desk.claims.counted
    for n in range(3):
        assert isinstance(desk.claims.record(f"r-{n}"), Passed)
        await desk.handle(OTP | {"request_id": f"r-{n}"}, delivery_count=1)
    assert not desk.claims.counted
    assert len(desk.provider.messages) == 3


async def test_an_orderly_stop_takes_no_claim_from_another_worker(desk: Desk) -> None:
    held = Working("another", 0, 0, body_hash(published_body(OTP, "push")))
    desk.claims.records["push", "otp-1"] = held
    await desk.handler.record_untried(desk.incoming(OTP))
    assert desk.claims.record("otp-1") == held


@pytest.mark.parametrize(
    ("targets", "served", "counted"), [(25, 0, TARGETS_AT_ONCE), (25, 20, 5), (3, 0, 3), (3, 3, 1)]
)
async def test_a_takeover_of_a_message_with_several_targets_is_counted_by_its_sends(
    desk: Desk, targets: int, served: int, counted: int
) -> None:
    tokens = [f"t{n}" for n in range(targets)]
    document = OTP | {"recipient": {"push_tokens": tokens}}
    desk.claims.served["otp-1"] = set(map(digest, tokens[:served]))
    dead = Working("dead", 0, 1, body_hash(published_body(document, "push")), lapsed=True)
    desk.claims.records["push", "otp-1"] = dead
    await desk.handle(document, attempt=1)
    assert desk.claims.counted == {"takeovers": counted}


async def test_lost_records_of_a_message_with_several_targets_are_counted_by_its_sends(desk: Desk) -> None:
    await desk.handle(OTP | {"recipient": {"push_tokens": [f"t{n}" for n in range(25)]}}, deferrals=1)
    assert desk.claims.counted == {"state_lost": 25}


# -- one clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_ms", [10 * MINUTES_MS, -10 * MINUTES_MS], ids=["behind", "ahead"])
async def test_a_workers_own_clock_ends_no_life(desk: Desk, ahead_ms: int) -> None:
    """Tests a machine whose clock is ten minutes from Redis', in each direction, with a life of one minute."""
    desk.claims.ahead_ms = ahead_ms
    redis_ms = now_ms() + ahead_ms
    alive, over = (rfc3339(redis_ms + seconds * 1000) for seconds in (60, -1))
    for n, expires_at in enumerate((alive, over)):
        incoming = desk.incoming(OTP | {"request_id": f"r-{n}", "expires_at": expires_at})
        incoming.headers["notify-accepted-at"] = rfc3339(redis_ms - 1000)
        await desk.handler.handle(incoming)
    assert (desk.provider.targets, [reason for reason, _ in desk.failed]) == (["t1"], ["expired"])


@pytest.mark.parametrize("headers", [{}, {"notify-accepted-at": "now"}], ids=["first sight", "accepted"])
async def test_a_default_life_begins_by_the_same_clock(desk: Desk, headers: dict[str, str]) -> None:
    desk.claims.ahead_ms = 2 * 86_400_000
    redis_ms = now_ms() + desk.claims.ahead_ms
    headers = {name: rfc3339(redis_ms) for name in headers}
    incoming = make_incoming(orjson.dumps(OTP), headers=headers)
    await desk.handler.handle(incoming)
    assert (desk.provider.targets, desk.failed) == (["t1"], [])


# -- foreign headers and bodies -----------------------------------------------------------------------------------


async def test_a_copied_number_of_a_replay_makes_no_later_replay_stale(desk: Desk) -> None:
    desk.provider.answers["t1"] = Refused(Refusal.PAYLOAD_REJECTED, "no")
    incoming = desk.incoming(OTP)
    incoming.headers["notify-replay"] = 2**53 - 2
    await desk.handler.handle(incoming)
    desk.provider.answers.clear()
    await desk.handle(OTP, replay=now_ms())
    assert desk.provider.targets == ["t1", "t1"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"request_id": "otp-1", "notification_type": "push"}',
        b'{"request_id": "otp-1", ',
        b'{"request_id": "otp-1", "x": "' + b"x" * 70_000 + b'"}',
        orjson.dumps(OTP | {"notification_type": "email"}),
    ],
    ids=["invalid", "no json", "too large", "wrong channel"],
)
async def test_a_refused_body_is_logged_with_its_request_id(desk: Desk, body: bytes) -> None:
    with capture_logs() as lines:
        await desk.handle(body)
    assert [(line["event"], line["request_id"]) for line in lines] == [("failed", "otp-1")]
    assert desk.publisher.tried[0].correlation_id == "otp-1"
