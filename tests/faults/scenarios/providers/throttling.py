"""Tests a provider that refuses calls because they come too fast."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from statistics import quantiles
from typing import Any

from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.ledgers import Ledgers
from tests.faults.ledger.worker_log import breaker_changes, events
from tests.faults.load.envelopes import Parcel, given

#: a level of the scaled ladder, seconds: a message with this Retry-After comes back then and not later
NAMED_S = 3
#: After this time from a logged refusal, no call is in progress any more that had begun before it, seconds.
LOGGED_S = 1.0
#: No more than this: three different recipients in a row pause the provider, and then no call is made at all.
REFUSED = 2
SENT = 500
#: a message that waits longer than the others by this time was affected, seconds
NOTICED_S = 0.25
#: what the mail server accepts per second, and the number of mails
RATE_PER_S = 14
RATED = 100
#: the answer 429 for one device, not for the project as a whole
HIS_QUOTA: dict[str, Any] = {"mode": "status", "error_code": "QUOTA_EXCEEDED", "field": "device:refused"}
OUR_QUOTA: dict[str, Any] = {"mode": "status", "status": 429}


@scenario(quick=True)
async def throttled_for_seconds(trial: Trial) -> None:
    """The provider answers 429 with Retry-After in seconds: the message is not tried before that time, one more attempt
    is made, and the breaker stays closed.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        await refuse_some(system, str(NAMED_S))
    assert not list(events(system.workers, "provider_throttled")), "two recipients are not the provider"
    for wait_s in waits(system, system.ledgers):
        assert wait_s > NAMED_S - LOGGED_S, f"asked again after {wait_s:.1f} s, told to wait {NAMED_S} s"
    gently(trial, system)


@scenario()
async def throttled_until_a_date(trial: Trial) -> None:
    """The provider answers 429 with an HTTP date in Retry-After: the message is not tried before that time, one more
    attempt is made, and the breaker stays closed.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=NAMED_S)
        await refuse_some(system, format_datetime(until, usegmt=True))
    refused = {event["request_id"] for event in events(system.workers, "retry")}
    early = [call for call in system.ledgers.calls if call.key[1] in refused and call.at < until.timestamp()]
    assert not early, f"{len(early)} asked again before {until}"
    gently(trial, system)


@scenario()
async def throttled_with_rubbish(trial: Trial) -> None:
    """The provider answers 429 with an unreadable Retry-After: the message is tried again after the product's own
    backoff, and the breaker stays closed.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        await refuse_some(system, "soon; maybe=tomorrow")
    gently(trial, system)


@scenario()
async def throttled_as_a_whole(trial: Trial) -> None:
    """The provider answers 429 for the whole project: no message is sent until the time that it named, then all are."""
    async with trial.system(push=1, **UNHURRIED) as system:
        await refuse_some(system, str(NAMED_S), OUR_QUOTA)
    since = next(events(system.workers, "provider_throttled"))["at"]
    meanwhile = [call for call in system.ledgers.calls if since + LOGGED_S < call.at < since + NAMED_S]
    assert not meanwhile, f"{len(meanwhile)} calls were made while the provider had asked for none"
    gently(trial, system)


async def refuse_some(system: System, retry_after: str, quota: dict[str, Any] = HIS_QUOTA) -> None:
    """Sends SENT messages and lets the next REFUSED calls of fcm be answered 429."""
    await system.providers.fault("fcm", retry_after=retry_after, count=REFUSED, **quota)
    await system.load.publish(system.writer.write(SENT))
    system.healed()


def waits(system: System, led: Ledgers) -> Iterable[float]:
    """Yields the seconds from each logged retry to the call that was accepted."""
    accepted = {call.key[1]: call.at for call in led.calls}
    return [accepted[event["request_id"]] - event["at"] for event in events(system.workers, "retry")]


def gently(trial: Trial, system: System) -> None:
    tries = Counter(system.ledgers.tries.values())
    assert tries == {1: SENT - REFUSED, 2: REFUSED}, f"calls a message -> messages: {dict(tries)}"
    assert not breaker_changes(system.workers, "fcm"), "throttling is no failure"
    trial.note(f"{REFUSED} refused, back after {min(waits(system, system.ledgers)):.1f} s at the earliest")


@scenario()
async def throttled_at_a_rate(trial: Trial) -> None:
    """The mail server accepts 14 mails per second and refuses all others: 100 mails are sent at nearly that rate, in
    one handling each, and nothing pauses.
    """
    async with trial.system(email=1, **UNHURRIED) as system:
        await system.providers.fault(
            "smtp", mode="status", status=454, error_code="4.7.28", stage="data", above_per_s=RATE_PER_S
        )
        began = time.monotonic()
        await system.load.publish([system.writer.one(**mail(number)) for number in range(RATED)])
        await system.delivered(RATED, 30)
        took_s = time.monotonic() - began
        system.healed()
    trial.note(f"{RATED} mails in {took_s:.1f} s")
    assert took_s < RATED / RATE_PER_S * 1.7, f"{RATED} mails took {took_s:.1f} s"
    assert not list(events(system.workers, "retry")), "a message went round the ladder"
    assert not breaker_changes(system.workers, "smtp")


def mail(number: int) -> dict[str, Any]:
    request_id = f"rated-{number}"
    fields = {"user_id": None, "template_code": None, "variables": None, "channel": "email"}
    recipient, content = {"email": f"rated-{number}@example.com"}, given("email", request_id)["content"]
    return fields | {"request_id": request_id, "recipient": recipient, "content": content}


@scenario()
async def throttled_for_one_recipient(trial: Trial) -> None:
    """The provider answers 429 to every call for one recipient: messages for other recipients are not delayed."""
    async with trial.system(push=1, **UNHURRIED) as system:
        before = await paced(system, system.writer.write(300))
        await system.providers.fault("fcm", target="token-refused", retry_after=NAMED_S, **HIS_QUOTA)
        refused = [system.writer.one(**given_to("token-refused", number)) for number in range(10)]
        meanwhile = await paced(system, system.writer.write(300), refused)
        await system.providers.heal()
        system.healed()
    accepted = {call.key: call.at for call in system.ledgers.calls}
    usual_s, other_s = (p95([accepted[key] - at for key, at in sent.items()]) for sent in (before, meanwhile))
    trial.note(f"p95 of the others {other_s * 1000:.0f} ms, before {usual_s * 1000:.0f} ms")
    assert other_s < usual_s + NOTICED_S, f"the others waited {other_s:.2f} s, before {usual_s:.2f} s"
    assert not list(events(system.workers, "provider_throttled")), "one recipient's 429 has paused the provider"


def given_to(token: str, number: int) -> dict[str, Any]:
    request_id = f"refused-{number}"
    content = given("push", request_id)["content"]
    fields = {"user_id": None, "template_code": None, "variables": None}
    return fields | {"request_id": request_id, "recipient": {"push_tokens": [token]}, "content": content}


async def paced(system: System, parcels: Sequence[Parcel], beside: Sequence[Parcel] = ()) -> dict[Any, float]:
    """Publishes one parcel every 10 ms, after those of ``beside``.

    Returns when each of ``parcels`` was sent, once all of them are delivered.
    """
    target = await system.providers.accepted_calls() + len(parcels)
    sent = {}
    async with asyncio.TaskGroup() as sending:
        sending.create_task(system.load.publish(beside))
        for parcel in parcels:
            sent[parcel.key] = time.time()
            sending.create_task(system.load.publish([parcel]))
            await asyncio.sleep(0.01)
    await system.delivered(target)
    return sent


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1]
