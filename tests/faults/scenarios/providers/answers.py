"""Tests what happens when a provider refuses: for good, with or without proof, or because of our account."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis

from shared.health.registry import force_breaker
from shared.settings.groups.breaker import BreakerPolicy
from tests.faults.faults.permanent import PERMANENT, PROVEN, UNPROVEN, Permanent
from tests.faults.harness.scale import PATIENT_S, UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.collecting import drained
from tests.faults.ledger.worker_log import breaker_changes, events, opened
from tests.faults.load.traffic import flowing
from tests.support.waiting import eventually_async

#: providers that are called only while the first provider of their channel is unavailable
FALLBACKS = ("sendgrid", "vonage")


@scenario(quick=True)
async def permanent_codes(trial: Trial) -> None:
    """Each error code that proves the recipient's or the content's fault is returned once by each provider: the message
    is in failed.queue with its reason after one call, and the breakers stay closed.
    """
    trial.bounds.failed = dict(Counter(row.reason for row in PROVEN))
    async with trial.system(push=1, email=1, sms=1, **UNHURRIED) as system:
        first, second = (
            [row for row in PROVEN if (row.provider in FALLBACKS) is fallback] for fallback in (False, True)
        )
        sent = await one_each(system, first)
        await take_out(system, "email", "smtp")
        await take_out(system, "sms", "twilio")
        sent |= await one_each(system, second)
        await drained(system.broker, system.vhost, trial.bounds.drain_s)
        # Calls are counted per provider: for a mail that is refused before its end, the sandbox does not know the
        # request_id.
        calls = {name: await system.providers.calls(name) for name in {row.provider for row in PROVEN}}
    reasons = {entry.key: (entry.reason, entry.attempts) for entry in system.ledgers.failed}
    for key, row in sent.items():
        assert reasons.get(key) == (row.reason, 1), f"{row.provider} {row.entry}: {reasons.get(key)}"
    assert calls == Counter(row.provider for row in PROVEN), f"not one call each: {calls}"
    by_themselves = [event for event in events(system.workers, "breaker_changed") if event["why"] != "operator"]
    assert not by_themselves, by_themselves[0]
    trial.note(f"{len(PROVEN)} codes of {len({row.provider for row in PROVEN})} providers")


@scenario()
async def unproven_codes(trial: Trial) -> None:
    """Each permanent error code that proves nothing about the message is returned once by the first provider of a
    channel: the next provider delivers the message, nothing is in failed.queue, and the breakers stay closed.
    """
    rows = [row for row in PERMANENT if row.reason == UNPROVEN and row.provider in ("smtp", "twilio")]
    async with trial.system(email=1, sms=1, provider_timeout_s=PATIENT_S) as system:
        for row in rows:
            await system.providers.fault(row.provider, **row.fault, count=1)
            before = await system.providers.accepted_calls()
            # The second is accepted by the first provider: several refusals in a row would speak for the account.
            for parcel in (system.writer.one(channel=row.channel), system.writer.one(channel=row.channel)):
                await system.load.publish([parcel])
                before += 1
                await system.delivered(before)
        calls = {name: await system.providers.calls(name) for name in FALLBACKS}
        system.healed()
    assert calls == {
        fallback: sum(row.channel == channel for row in rows)
        for fallback, channel in (("sendgrid", "email"), ("vonage", "sms"))
    }
    assert not list(events(system.workers, "breaker_changed"))
    trial.note(f"{len(rows)} codes of 2 providers")


@scenario(Bounds(failed={"provider_refused": (1, 2 * BreakerPolicy.rejected_targets)}))
async def account_refused(trial: Trial) -> None:
    """The only provider refuses every message for good, with a code that proves nothing: after a few recipients in a
    row the breaker opens, no more messages are given up, and all others are sent once it accepts again.
    """
    async with trial.system(push=1, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="status", error_code="SENDER_ID_MISMATCH")
        await system.load.publish(system.writer.write(300))
        await opened(system.workers, "fcm")
        await eventually_async(lambda: len(breaker_changes(system.workers, "fcm", "half_open")) >= 2)
        await system.providers.heal()
        system.healed()


async def one_each(system: System, rows: Sequence[Permanent]) -> dict[Any, Permanent]:
    """Sends one message for each row and lets its provider refuse it in that way; the providers are tried in parallel.

    Returns the rows by the keys of their messages.
    """
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
    """Forces the provider's breaker open in all workers, as an operator does."""
    with redis.Redis.from_url(system.redis_url) as client:
        force_breaker(client, channel, provider, "open")
    await opened(system.workers, provider)


@scenario(quick=True)
async def credentials_refused(trial: Trial) -> None:
    """The provider answers 401 to every call: the breaker opens at the first call, no message is given up, and all are
    sent once the credentials are accepted again.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
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
