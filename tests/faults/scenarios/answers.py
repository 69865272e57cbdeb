"""What a provider may say instead of yes: too fast, never, or not to us."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from statistics import quantiles
from typing import Any

import redis

from shared.worker_state import force_breaker
from tests.faults.collecting import drained
from tests.faults.envelopes import Parcel, given
from tests.faults.ledgers import Ledgers
from tests.faults.permanent import PERMANENT, Permanent
from tests.faults.scenario import scenario
from tests.faults.system import System
from tests.faults.traffic import flowing
from tests.faults.trial import Trial
from tests.faults.worker_log import breaker_changes, events, opened
from tests.waiting import eventually_async

#: a level of the scaled ladder, seconds: what names it comes back then and not later
NAMED_S = 3
#: a refusal is logged so soon after it was given, seconds
LOGGED_S = 0.3
REFUSED = 20


@scenario(quick=True)
async def throttled_for_seconds(trial: Trial) -> None:
    """429 with Retry-After in seconds: no call before that, one attempt more, and the breaker stays closed."""
    async with trial.system(push=1) as system:
        await refuse_some(system, str(NAMED_S))
    for wait_s in waits(system, system.ledgers):
        assert wait_s > NAMED_S - LOGGED_S, f"asked again after {wait_s:.1f} s, told to wait {NAMED_S} s"
    gently(trial, system)


@scenario()
async def throttled_until_a_date(trial: Trial) -> None:
    """429 with an HTTP date in Retry-After: no call before that, one attempt more, and the breaker stays closed."""
    async with trial.system(push=1) as system:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=NAMED_S)
        await refuse_some(system, format_datetime(until, usegmt=True))
    refused = {event["request_id"] for event in events(system.workers, "retry")}
    early = [call for call in system.ledgers.calls if call.key[1] in refused and call.at < until.timestamp()]
    assert not early, f"{len(early)} asked again before {until}"
    gently(trial, system)


@scenario()
async def throttled_with_rubbish(trial: Trial) -> None:
    """429 with rubbish in Retry-After: tried again after our own backoff, and the breaker stays closed."""
    async with trial.system(push=1) as system:
        await refuse_some(system, "soon; maybe=tomorrow")
    gently(trial, system)


async def refuse_some(system: System, retry_after: str) -> None:
    """The next REFUSED calls of fcm are answered 429, of 500 messages."""
    await system.providers.fault("fcm", mode="status", status=429, retry_after=retry_after, count=REFUSED)
    await system.load.publish(system.writer.write(500))
    system.healed()


def waits(system: System, led: Ledgers) -> Iterable[float]:
    """Seconds from each logged retry to the call that was accepted."""
    accepted = {call.key[1]: call.at for call in led.calls}
    return [accepted[event["request_id"]] - event["at"] for event in events(system.workers, "retry")]


def gently(trial: Trial, system: System) -> None:
    tries = Counter(system.ledgers.tries.values())
    assert tries == {1: 500 - REFUSED, 2: REFUSED}, f"calls a message -> messages: {dict(tries)}"
    assert not breaker_changes(system.workers, "fcm"), "throttling is no failure"
    trial.note(f"{REFUSED} refused, back after {min(waits(system, system.ledgers)):.1f} s at the earliest")


@scenario()
async def throttled_for_one_recipient(trial: Trial) -> None:
    """429 for one recipient only, whatever is sent to him: the others do not notice."""
    async with trial.system(push=1) as system:
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


#: 429, but not for the project as a whole
HIS_QUOTA: dict[str, Any] = {"mode": "status", "error_code": "QUOTA_EXCEEDED", "field": "device:refused"}
#: who waits so much longer has noticed, seconds
NOTICED_S = 0.25


def given_to(token: str, number: int) -> dict[str, Any]:
    request_id = f"refused-{number}"
    content = given("push", request_id)["content"]
    fields = {"user_id": None, "template_code": None, "variables": None}
    return fields | {"request_id": request_id, "recipient": {"push_tokens": [token]}, "content": content}


async def paced(system: System, parcels: Sequence[Parcel], beside: Sequence[Parcel] = ()) -> dict[Any, float]:
    """Publish one every 10 ms, ``beside`` first; when each of ``parcels`` was sent, once all of them are delivered."""
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


@scenario(quick=True)
async def permanent_codes(trial: Trial) -> None:
    """Every permanent code of every provider: in failed.queue with its reason after one call, breakers stay closed."""
    trial.bounds.failed = dict(Counter(row.reason for row in PERMANENT))
    async with trial.system(push=1, email=1, sms=1) as system:
        first, second = (
            [row for row in PERMANENT if (row.provider in FALLBACKS) is fallback] for fallback in (False, True)
        )
        sent = await one_each(system, first)
        await take_out(system, "email", "smtp")
        await take_out(system, "sms", "twilio")
        sent |= await one_each(system, second)
        await drained(system.broker, system.vhost, trial.bounds.drain_s)
        # Counted by provider: of a mail that is refused before its end, the request_id is not known there.
        calls = {name: await system.providers.calls(name) for name in {row.provider for row in PERMANENT}}
    reasons = {entry.key: (entry.reason, entry.attempts) for entry in system.ledgers.failed}
    for key, row in sent.items():
        assert reasons.get(key) == (row.reason, 1), f"{row.provider} {row.entry}: {reasons.get(key)}"
    assert calls == Counter(row.provider for row in PERMANENT), f"not one call each: {calls}"
    by_themselves = [event for event in events(system.workers, "breaker_changed") if event["why"] != "operator"]
    assert not by_themselves, by_themselves[0]
    trial.note(f"{len(PERMANENT)} codes of {len({row.provider for row in PERMANENT})} providers")


#: called only while the first provider of their channel is out
FALLBACKS = ("sendgrid", "vonage")


async def one_each(system: System, rows: Sequence[Permanent]) -> dict[Any, Permanent]:
    """A message a row, its provider refusing it so; provider beside provider. By the messages' keys."""
    sent: dict[Any, Permanent] = {}

    async def one_provider(name: str) -> None:
        for row in rows:
            if row.provider == name:
                await system.providers.fault(name, **row.fault, count=1)
                parcel = system.writer.one(channel=row.channel)
                sent[parcel.key] = row
                await system.load.publish([parcel])
                await eventually_async(lambda: _struck(system, name))

    await asyncio.gather(*(one_provider(name) for name in {row.provider for row in rows}))
    return sent


async def _struck(system: System, provider: str) -> bool:
    return provider not in await system.providers.standing()


async def take_out(system: System, channel: str, provider: str) -> None:
    """As an operator does: its breaker is forced open in all workers."""
    with redis.Redis.from_url(system.redis_url) as client:
        force_breaker(client, channel, provider, "open")
    await opened(system.workers, provider)


@scenario(quick=True)
async def credentials_refused(trial: Trial) -> None:
    """401 to all: the breaker opens at the first call, no message is given up, and all are sent once we are let in."""
    async with trial.system(push=1) as system:
        await system.providers.fault("fcm", mode="status", status=401)
        await system.load.publish([system.writer.one()])
        await opened(system.workers, "fcm")
        assert await system.providers.calls("fcm") == 1, "more than one call before the breaker opened"
        async with flowing(trial, system, 500, per_s=200):
            await eventually_async(lambda: breaker_changes(system.workers, "fcm", "half_open"))
        calls, probes = await system.providers.calls("fcm"), len(breaker_changes(system.workers, "fcm", "half_open"))
        assert calls == 1 + probes, f"{calls} calls, {probes} probes"
        await system.providers.heal()
        system.healed()
    counted = [event for event in events(system.workers, "retry") if event["counted"]]
    assert not counted, f"an attempt was spent: {counted[0]}"
