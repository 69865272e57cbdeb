"""Tests the rule book: the outcome of a claimed message for each kind of recipient, content and provider's answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.clock import now_ms, rfc3339
from shared.delivery import sender as sending
from shared.errors import Refusal, Refused, SourceUnreadable, Unavailable
from shared.idempotency.claims import ClaimAnswer
from shared.message.headers import DeliveryState
from shared.message.outcome import Dead, Duplicate, Hold, Outcome, Retry, Sent, Skipped
from shared.message.privacy import digest
from shared.providers.provider import Message
from shared.templates.template import Template
from shared.users.user import User
from tests.support.fakes.worker import POLICY, Bench

DAY_MS = 86_400_000
THREE = {"push_tokens": ["t1", "t2", "t3"]}
GONE = Refused(Refusal.RECIPIENT_INVALID, "gone")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def last_attempt() -> DeliveryState:
    return DeliveryState(accepted_at=rfc3339(now_ms()), attempt=POLICY.max_attempts - 1)


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, (Dead, Retry, Skipped))
    return outcome.reason


# -- 1. its life --------------------------------------------------------------------------------------------------


async def test_a_message_over_its_channels_life_is_never_sent(bench: Bench) -> None:
    old = DeliveryState(accepted_at=rfc3339(now_ms() - DAY_MS - 1_000), last_error="fcm 503")
    outcome = await bench.delivery.attempt(bench.job(state=old))
    assert reason(outcome) == "expired"
    assert isinstance(outcome, Dead)
    assert "fcm 503" in outcome.error
    assert (bench.provider.messages, bench.users.asked) == ([], [])


async def test_a_message_over_its_own_expiry_is_never_sent(bench: Bench) -> None:
    assert reason(await bench.delivery.attempt(bench.job(expires_at=rfc3339(now_ms() - 1)))) == "expired"
    assert bench.provider.messages == []


async def test_its_own_expiry_wins_over_the_channels_life(bench: Bench) -> None:
    job = bench.job(
        state=DeliveryState(accepted_at=rfc3339(now_ms() - 2 * DAY_MS)), expires_at=rfc3339(now_ms() + 60_000)
    )
    assert isinstance(await bench.delivery.attempt(job), Sent)


async def test_an_operator_may_send_it_after_its_expiry(bench: Bench) -> None:
    state = DeliveryState(accepted_at=rfc3339(now_ms()), replay=1, ignore_expiry=True)
    assert isinstance(await bench.delivery.attempt(bench.job(state=state, expires_at="2020-01-01T00:00:00Z")), Sent)


# -- 2. where to --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "target"), [("push", "t1"), ("email", "ada@example.org"), ("sms", "+15550100")])
async def test_each_channel_sends_to_the_users_own_address(channel: str, target: str) -> None:
    bench = Bench(channel)
    assert await bench.delivery.attempt(bench.job()) == Sent("fcm", f"id-of-{target}")
    assert bench.provider.targets == [target]


async def test_a_user_who_opted_out_gets_nothing(bench: Bench) -> None:
    bench.users.entries["ada"] = User(id="ada", push_tokens=("t1",), preferences={"push": False, "email": True})
    assert await bench.delivery.attempt(bench.job()) == Skipped("opted_out")
    assert bench.provider.messages == []


async def test_preferences_do_not_apply_to_a_given_recipient(bench: Bench) -> None:
    bench.users.away = True
    job = bench.job(recipient={"push_tokens": ["other"]}, user_id="ada")
    assert await bench.delivery.attempt(job) == Sent("fcm", "id-of-other")
    assert bench.users.asked == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"user_id": "nobody"}, "user_not_found"),
        ({"recipient": {"email": "a@b.example"}}, "no_recipient"),
        ({"template_code": "NONE"}, "template_not_found"),
        ({"template_code": "BAD"}, "template_error"),
    ],
)
async def test_what_can_never_be_sent_is_dead(fields: dict[str, Any], why: str, bench: Bench) -> None:
    bench.templates.entries["BAD"] = Template(code="BAD", title="t", body="{% if %}")
    outcome = await bench.delivery.attempt(bench.job(**fields))
    assert isinstance(outcome, Dead)
    assert outcome.reason == why
    assert bench.provider.messages == []


async def test_a_user_without_an_address_is_dead(bench: Bench) -> None:
    bench.users.entries["ada"] = User(id="ada", email="ada@example.org")
    outcome = await bench.delivery.attempt(bench.job())
    assert outcome == Dead("no_recipient", "the recipient has no push_tokens")


# -- An inbox is the user's own address ----------------------------------------------------------------------------


@pytest.fixture
def inbox() -> Bench:
    return Bench("websocket")


async def test_an_inbox_is_that_of_the_user_id(inbox: Bench) -> None:
    assert await inbox.delivery.attempt(inbox.job()) == Sent("fcm", "id-of-ada")
    assert inbox.provider.targets == ["ada"]


async def test_a_user_whom_the_directory_does_not_know_has_an_inbox(inbox: Bench) -> None:
    assert await inbox.delivery.attempt(inbox.job(user_id="nobody")) == Sent("fcm", "id-of-nobody")
    assert inbox.users.asked == ["nobody"]


async def test_a_user_may_refuse_the_inbox(inbox: Bench) -> None:
    inbox.users.entries["ada"] = User(id="ada", preferences={"websocket": False})
    assert await inbox.delivery.attempt(inbox.job()) == Skipped("opted_out")
    assert inbox.provider.messages == []


async def test_an_inbox_waits_for_a_directory_that_cannot_say_what_its_user_wants(inbox: Bench) -> None:
    inbox.users.away = True
    assert reason(await inbox.delivery.attempt(inbox.job())) == "directory_unavailable"
    inbox.users.is_open = True
    assert await inbox.delivery.attempt(inbox.job()) == Hold("users")


async def test_with_a_recipient_an_inbox_asks_nobody(inbox: Bench) -> None:
    job = inbox.job(recipient={"email": "ada@example.org"}, user_id="ada")
    assert await inbox.delivery.attempt(job) == Sent("fcm", "id-of-ada")
    assert inbox.users.asked == []


async def test_an_inbox_without_a_user_id_is_dead(inbox: Bench) -> None:
    outcome = await inbox.delivery.attempt(inbox.job(recipient={"email": "ada@example.org"}))
    assert outcome == Dead("no_recipient", "the recipient has no user_id")


async def test_what_its_sender_says_about_it_reaches_the_inbox(inbox: Bench) -> None:
    accepted_ms = now_ms() - 5_000
    job = inbox.job(
        state=DeliveryState(accepted_at=rfc3339(accepted_ms), client="shop"),
        type="warning",
        category="billing",
        metadata={"order": 7},
        expires_at=rfc3339(accepted_ms + 60_000),
    )
    await inbox.delivery.attempt(job)
    (message,) = inbox.provider.messages
    assert (message.client, message.type, message.category) == ("shop", "warning", "billing")
    assert message.metadata == {"order": 7}
    assert (message.accepted_ms, message.expires_ms) == (accepted_ms, accepted_ms + 60_000)


async def test_only_an_expiry_that_the_sender_has_named_ends_its_place_in_the_inbox(inbox: Bench) -> None:
    await inbox.delivery.attempt(inbox.job())
    replayed = DeliveryState(accepted_at=rfc3339(now_ms()), replay=1, ignore_expiry=True)
    await inbox.delivery.attempt(inbox.job(state=replayed, expires_at="2020-01-01T00:00:00Z"))
    assert [message.expires_ms for message in inbox.provider.messages] == [None, None]


# -- 3. what ------------------------------------------------------------------------------------------------------


async def test_given_content_is_sent_unchanged(bench: Bench) -> None:
    content = {"title": "T", "body": "{{ b }}", "html": "<b>", "link": "https://l.example", "data": {"k": "v"}}
    await bench.delivery.attempt(bench.job(content=content, lane="high", priority="high"))
    message = bench.provider.messages[0]
    sent = message.content
    assert (sent.title, sent.body, sent.html, sent.link, sent.data) == tuple(content.values())
    assert sent.subject == "T"
    assert (message.request_id, message.priority) == ("r-1", "high")


async def test_a_template_is_filled_with_the_variables(bench: Bench) -> None:
    variables = {"name": "Ada", "link": "https://l.example"}
    assert isinstance(await bench.delivery.attempt(bench.job(template_code="HELLO", variables=variables)), Sent)
    content = bench.provider.messages[0].content
    assert (content.title, content.body) == ("Hello Ada", "Ada, look: https://l.example")


async def test_the_rest_of_its_life_goes_to_the_provider(bench: Bench) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=90)
    await bench.delivery.attempt(bench.job(expires_at=expires.isoformat()))
    message = bench.provider.messages[0]
    assert message.life_s is not None and 80 <= message.life_s <= 90
    assert message.expires_at_s == int(expires.timestamp())


async def test_without_an_expiry_of_its_own_it_is_that_of_the_channel(bench: Bench) -> None:
    await bench.delivery.attempt(bench.job())
    life_s = bench.provider.messages[0].life_s
    assert life_s is not None and POLICY.life_s - 10 <= life_s <= POLICY.life_s


@pytest.mark.parametrize(
    ("parts", "missing"),
    [({"body": "b"}, "subject"), ({"subject": "{{ none }}", "body": "b"}, "subject"), ({"subject": "s"}, "no text")],
)
async def test_an_email_without_subject_or_text_is_dead(parts: dict[str, str], missing: str) -> None:
    bench = Bench("email")
    bench.templates.entries["T"] = Template(code="T", **parts)
    outcome = await bench.delivery.attempt(bench.job(template_code="T", variables={"none": ""}))
    assert isinstance(outcome, Dead)
    assert outcome.reason == "template_error" and missing in outcome.error
    assert bench.provider.messages == []


@pytest.mark.parametrize("parts", [{"title": "t", "body": "b"}, {"subject": "s", "html": "<p>h</p>"}])
async def test_a_title_or_html_alone_is_enough_for_an_email(parts: dict[str, str]) -> None:
    bench = Bench("email")
    bench.templates.entries["T"] = Template(code="T", **parts)
    assert isinstance(await bench.delivery.attempt(bench.job(template_code="T")), Sent)


async def test_an_email_with_content_but_no_subject_is_dead() -> None:
    outcome = await Bench("email").delivery.attempt(Bench("email").job(content={"body": "b"}))
    assert isinstance(outcome, Dead)
    assert outcome.reason == "payload_rejected" and "subject" in outcome.error


async def test_a_missing_variable_is_named(bench: Bench) -> None:
    outcome = await bench.delivery.attempt(bench.job(template_code="HELLO", variables={"name": "Ada"}))
    assert isinstance(outcome, Dead)
    assert outcome.reason == "template_error"
    assert "'link'" in outcome.error
    assert bench.provider.messages == []


@pytest.mark.parametrize(
    ("source", "fields", "why"),
    [("users", {}, "user_invalid"), ("templates", {"template_code": "HELLO"}, "template_error")],
)
async def test_an_unreadable_record_ends_the_message_and_names_the_field(
    source: str, fields: dict[str, Any], why: str, bench: Bench
) -> None:
    async def unreadable(_key: str) -> Any:
        raise SourceUnreadable(source, "unreadable answer, id: string_type")

    getattr(bench, source).user = getattr(bench, source).get = unreadable
    outcome = await bench.delivery.attempt(bench.job(**fields))
    assert (reason(outcome), outcome.error) == (why, "unreadable answer, id: string_type")  # type: ignore[union-attr]


# -- sources that are away ----------------------------------------------------------------------------------------

AWAY = [
    ("users", {}, "directory_unavailable"),
    ("templates", {"template_code": "HELLO"}, "templates_unavailable"),
]


@pytest.mark.parametrize(("source", "fields", "why"), AWAY)
async def test_an_unavailable_source_costs_no_attempt(
    source: str, fields: dict[str, Any], why: str, bench: Bench
) -> None:
    getattr(bench, source).away = True
    job = bench.job(state=DeliveryState(accepted_at=rfc3339(now_ms()), attempt=7, deferrals=3), **fields)
    assert await bench.delivery.attempt(job) == Retry(40, why, False, f"{source}: 503")  # type: ignore[arg-type]
    assert job.called is False


@pytest.mark.parametrize(("source", "fields", "_why"), AWAY)
async def test_once_its_breaker_is_open_the_message_is_held(
    source: str, fields: dict[str, Any], _why: str, bench: Bench
) -> None:
    getattr(bench, source).away = getattr(bench, source).is_open = True
    assert await bench.delivery.attempt(bench.job(**fields)) == Hold(source)  # type: ignore[arg-type]


async def test_a_message_whose_life_ends_while_a_source_is_unavailable_is_expired(bench: Bench) -> None:
    bench.users.away = True
    outcome = await bench.delivery.attempt(bench.job(expires_at=rfc3339(now_ms() + 4_000)))
    assert reason(outcome) == "expired"


# -- 4. one target ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "state"),
    [
        (GONE, Dead("recipient_invalid", "gone", "fcm", counted=True), "closed"),
        (Refused(Refusal.PAYLOAD_REJECTED, "big"), Dead("payload_rejected", "big", "fcm", counted=True), "closed"),
        (Refused(Refusal.THROTTLED, "429", 42), Retry(42, "throttled", True, "429", "fcm"), "closed"),
        (Refused(Refusal.THROTTLED, "429"), Retry(5, "throttled", True, "429", "fcm"), "closed"),
        (Unavailable("503"), Retry(5, "provider_unavailable", True, "503", "fcm"), "closed"),
        (Refused(Refusal.UNAVAILABLE, "503", 60), Retry(60, "provider_unavailable", True, "503", "fcm"), "closed"),
        (Refused(Refusal.CREDENTIALS, "401"), Retry(5, "misconfigured", False, "401", "fcm"), "open"),
        (KeyError("k"), Retry(5, "unexpected", True, "KeyError('k')", "fcm"), "closed"),
    ],
    ids=str,
)
async def test_what_follows_from_a_providers_answer(
    error: Exception, outcome: Outcome, state: str, bench: Bench
) -> None:
    bench.provider.answers["t1"] = error
    job = bench.job()
    assert await bench.delivery.attempt(job) == outcome
    assert bench.providers.worst_state == state
    assert job.called is True


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (Refused(Refusal.RECIPIENT_INVALID, ""), False),
        (Refused(Refusal.THROTTLED, "429"), False),
        (Refused(Refusal.RECIPIENT_TEMPORARY, "4.2.2"), False),
        (Unavailable("503"), True),
        (RuntimeError("new"), True),
    ],
    ids=repr,
)
async def test_only_the_providers_own_failures_open_its_breaker(error: Exception, blamed: bool, bench: Bench) -> None:
    bench.provider.answers["t1"] = error
    for _ in range(10):
        await bench.delivery.attempt(bench.job())
    assert bench.providers.worst_state == ("open" if blamed else "closed")


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (Unavailable("cut", ambiguous=True), {"no_answer": 1}),
        (Unavailable("refused"), {}),
        (RuntimeError("new"), {"no_answer": 1}),
        (Refused(Refusal.UNAVAILABLE, "503", handed_over=True), {"refused": 1}),
        (Refused(Refusal.RECIPIENT_TEMPORARY, "451 after DATA", handed_over=True), {"refused": 1}),
        (Refused(Refusal.QUOTA_EXCEEDED, "550 5.4.5 after DATA", handed_over=True), {"refused": 1}),
        # It is not sent again, so it cannot be a second send.
        (Refused(Refusal.PAYLOAD_REJECTED, "554 after DATA", handed_over=True), {}),
    ],
    ids=repr,
)
async def test_a_send_that_may_have_been_accepted_is_counted(
    error: Exception, times: dict[str, int], bench: Bench
) -> None:
    bench.provider.answers["t1"] = error
    await bench.delivery.attempt(bench.job())
    assert bench.ambiguous == times


async def test_the_last_attempt_ends_in_failed_queue(bench: Bench) -> None:
    bench.provider.answers["t1"] = Unavailable("503")
    job = bench.job(state=last_attempt())
    assert await bench.delivery.attempt(job) == Dead("attempts_exhausted", "503", "fcm", counted=True)


async def test_with_every_breaker_open_nothing_is_called_and_the_message_is_held(bench: Bench) -> None:
    bench.providers.breaker("fcm").force("open")
    job = bench.job()
    assert await bench.delivery.attempt(job) == Hold("provider")
    assert (bench.provider.messages, job.called) == ([], False)


async def test_a_cancelled_send_is_no_failure_but_may_have_been_accepted(bench: Bench) -> None:
    bench.provider.answers["t1"] = None
    for _ in range(10):
        task = asyncio.create_task(bench.delivery.attempt(bench.job()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.providers.worst_state == "closed"
    assert bench.ambiguous == {"no_answer": 10}


# -- the claim ----------------------------------------------------------------------------------------------------


async def test_a_claim_that_does_not_cover_the_send_is_taken_again(bench: Bench) -> None:
    job = bench.job(budget_s=sending.GRACE_S + bench.provider.timeout_s - 1)
    await job.claim.take()
    assert isinstance(await bench.delivery.attempt(job), Sent)
    assert bench.journal == ["claim", "claim"]


async def test_a_claim_that_covers_the_send_is_left_alone(bench: Bench) -> None:
    job = bench.job()
    await job.claim.take()
    await bench.delivery.attempt(job)
    assert bench.journal == ["claim"]


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("held", Retry(30, "claimed_elsewhere", False, "claimed elsewhere")),
        ("stale", Duplicate("stale")),
        ("duplicate", Duplicate("duplicate")),
        ("reused", Dead("request_id_reused", "this request_id was used with another body: choose a new one")),
    ],
)
async def test_a_worker_that_has_lost_its_claim_does_not_send(verdict: Any, outcome: Outcome, bench: Bench) -> None:
    bench.claims.answers.append(ClaimAnswer(verdict, lease_left_s=30))
    job = bench.job()
    assert await bench.delivery.attempt(job) == outcome
    assert bench.provider.messages == []
    assert not job.claim.held


async def test_while_redis_is_unavailable_the_message_is_held(bench: Bench) -> None:
    bench.claims.away = True
    assert await bench.delivery.attempt(bench.job()) == Hold("redis")
    assert bench.provider.messages == []


async def test_a_bug_counts_as_an_attempt_so_that_retries_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(_key: str) -> User:
        raise TypeError("a bug")

    monkeypatch.setattr(bench.users, "user", bug)
    assert await bench.delivery.attempt(bench.job()) == Retry(5, "unexpected", True, "TypeError('a bug')")


# -- several targets, judged together -----------------------------------------------------------------------------


async def test_a_message_is_sent_when_all_targets_are_served(bench: Bench) -> None:
    assert isinstance(await bench.delivery.attempt(bench.job(recipient=THREE)), Sent)
    assert sorted(bench.provider.targets) == ["t1", "t2", "t3"]


async def test_a_target_named_twice_gets_it_once(bench: Bench) -> None:
    await bench.delivery.attempt(bench.job(recipient={"push_tokens": ["t1", "t1"]}))
    assert bench.provider.targets == ["t1"]


async def test_a_retry_goes_only_to_the_target_that_was_not_served(bench: Bench) -> None:
    bench.provider.answers["t2"] = Unavailable("503")
    assert reason(await bench.delivery.attempt(bench.job(recipient=THREE))) == "provider_unavailable"
    del bench.provider.answers["t2"]
    bench.provider.messages.clear()
    assert await bench.delivery.attempt(bench.job(recipient=THREE)) == Sent("fcm", "id-of-t2")
    assert bench.provider.targets == ["t2"]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        pytest.param({"t3": GONE}, "sent", id="one dead target among served ones"),
        pytest.param(dict.fromkeys(THREE["push_tokens"], GONE), "recipient_invalid", id="all dead"),
        pytest.param({"t1": GONE, "t3": Unavailable("503")}, "provider_unavailable", id="a failure wins"),
    ],
)
async def test_dead_targets_among_others(answers: dict[str, BaseException | None], outcome: str, bench: Bench) -> None:
    bench.provider.answers = answers
    found = await bench.delivery.attempt(bench.job(recipient=THREE))
    assert ("sent" if isinstance(found, Sent) else reason(found)) == outcome


async def test_the_longest_requested_wait_applies(bench: Bench) -> None:
    bench.provider.answers = {
        "t1": Refused(Refusal.THROTTLED, "429", 30),
        "t2": Refused(Refusal.THROTTLED, "429", 90),
        "t3": Refused(Refusal.THROTTLED, "429"),
    }
    outcome = await bench.delivery.attempt(bench.job(recipient=THREE))
    assert isinstance(outcome, Retry)
    assert outcome.delay_s == 90


async def test_after_the_last_attempt_one_served_target_is_enough(bench: Bench) -> None:
    bench.provider.answers["t2"] = Unavailable("503")
    assert isinstance(await bench.delivery.attempt(bench.job(state=last_attempt(), recipient=THREE)), Sent)


async def test_an_attempt_that_did_not_count_was_not_the_last(bench: Bench) -> None:
    bench.provider.answers["t2"] = Refused(Refusal.CREDENTIALS, "401")
    assert reason(await bench.delivery.attempt(bench.job(state=last_attempt(), recipient=THREE))) == "misconfigured"


async def test_no_provider_is_called_when_all_targets_were_served_before(bench: Bench) -> None:
    bench.claims.served = {digest(token) for token in THREE["push_tokens"]}
    assert isinstance(await bench.delivery.attempt(bench.job(recipient=THREE)), Sent)
    assert bench.provider.messages == []


async def test_a_message_is_held_for_targets_that_met_an_open_breaker(bench: Bench) -> None:
    bench.claims.served = {digest("t1")}
    bench.providers.breaker("fcm").force("open")
    assert await bench.delivery.attempt(bench.job(recipient=THREE)) == Hold("provider")


async def test_a_hundred_targets_are_served_ten_at_a_time_each_ten_under_a_claim_that_covers_them(bench: Bench) -> None:
    tokens = [f"t{n}" for n in range(100)]
    job = bench.job(recipient={"push_tokens": tokens}, budget_s=1)
    assert isinstance(await bench.delivery.attempt(job), Sent)
    assert sorted(bench.provider.targets) == sorted(tokens)
    assert bench.journal == ["claim"] * 10


async def test_an_error_at_one_target_is_raised_after_the_other_sends_have_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, marked = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> str:
        if message.target == "t2":
            await go.wait()
        return "id"

    async def mark_token(_request_id: str, token_digest: str) -> None:
        if token_digest == digest("t1"):
            marked.set()
            raise TypeError("a bug")

    monkeypatch.setattr(bench.provider, "_answer", answer)
    monkeypatch.setattr(bench.claims, "mark_token", mark_token)
    with capture_logs():
        attempt = asyncio.create_task(bench.delivery.attempt(bench.job(recipient=THREE)))
        await marked.wait()
        done, _ = await asyncio.wait([attempt], timeout=0.05)
        assert not done
        go.set()
        assert reason(await attempt) == "unexpected"
