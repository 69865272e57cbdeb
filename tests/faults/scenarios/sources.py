"""Tests the user and template services being down, slow, or silent, or answering that they know no such entry."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.backlog import watched
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.truth import workers_pause
from tests.faults.ledger.worker_log import breaker_changes
from tests.faults.load.envelopes import Parcel
from tests.faults.load.traffic import flowing

#: most messages that a worker has in flight: the product's default
PREFETCH = 256
WAITING = 10_000
#: the time for which a service is unavailable, seconds; with scaled times, its breaker lets the first probes through
#: after 1.5 and 3 s
DOWN_S = 8.0
PAUSES_S = 5.0
DOWN: dict[str, Any] = {"mode": "status", "status": 503}
#: messages of another channel that carry all they need
UNCONCERNED = 300
UNCONCERNED_S = 5.0
#: records that cannot be read, one after the other
ODD = 30
LOOKED_UP: dict[str, Any] = {
    "recipient": None,
    "content": None,
    "template_code": "PRODUCT_UPDATE",
    "variables": {"name": "Ada", "link": "https://example.com"},
}


def needing(system: System, source: str, count: int, channel: str = "push") -> list[Parcel]:
    """Returns messages that cannot be sent without ``source``: for a thousand users, or with one template."""
    return [one(system, source, f"user-{1000 + number % 1000}", channel) for number in range(count)]


def one(system: System, source: str, user_id: str, channel: str = "push", **fields: Any) -> Parcel:
    if source == "templates":
        recipient = {"push_tokens": [f"token-of-{user_id}"]}
        return system.writer.one(channel=channel, **LOOKED_UP | {"recipient": recipient, "user_id": None} | fields)
    return system.writer.one(channel=channel, **LOOKED_UP | {"user_id": user_id} | fields)


async def away(trial: Trial, source: str, fault: dict[str, Any]) -> None:
    """Breaks ``source`` while 10 000 push messages need it; SMS messages need nothing of it."""
    async with trial.system(push=1, sms=1, provider_timeout_s=PATIENT_S) as system:
        # All lanes are open when the service breaks: the messages of a whole prefetch ask it at once.
        await carries_on(system, "push")
        await system.providers.fault(source, **fault)
        async with watched(system, "push") as backlog:
            await system.load.publish(needing(system, source, WAITING))
            await carries_on(system, "sms")
            await asyncio.sleep(DOWN_S)
        await system.providers.heal()
        system.healed()
        trial.note(f"{DOWN_S:.0f} s: {backlog}; {backlog.waiting} waited; {probes(system, source)} probes")
        assert backlog.elsewhere <= 2 * PREFETCH, f"more than two prefetches left their queue: {backlog}"
        # Messages that were in flight when the service broke are held there: none of them goes through the ladder.
        assert backlog.in_ladder <= PREFETCH // 10, f"messages go round the ladder: {backlog}"
        assert not backlog.failed, f"an outage is no message's end: {backlog}"


async def carries_on(system: System, channel: str) -> None:
    before = await system.providers.accepted_calls()
    await system.load.post([given(system, channel) for _ in range(UNCONCERNED)])
    await system.delivered(before + UNCONCERNED, UNCONCERNED_S)


def given(system: System, channel: str) -> Parcel:
    """Returns a message that carries its recipient and content."""
    while not (parcel := system.writer.one(channel=channel)).document.get("content"):
        continue
    return parcel


def probes(system: System, source: str) -> int:
    return len(breaker_changes(system.workers, source, "half_open"))


@scenario()
async def users_down(trial: Trial) -> None:
    """The user service answers 503 while 10 000 messages need it: they wait in their queue, and other channels
    continue.
    """
    await away(trial, "users", DOWN)


@scenario(quick=True)
async def templates_down(trial: Trial) -> None:
    """The template service answers 503 while 10 000 messages need one template: they wait in their queue, and other
    channels continue.
    """
    await away(trial, "templates", DOWN)


@scenario()
async def users_hanging(trial: Trial) -> None:
    """The user service does not answer at all while 10 000 messages need it: they wait in their queue, and other
    channels continue.
    """
    await away(trial, "users", {"mode": "timeout"})


@scenario()
async def templates_hanging(trial: Trial) -> None:
    """The template service does not answer at all while 10 000 messages need one template: they wait in their queue,
    and other channels continue.
    """
    await away(trial, "templates", {"mode": "timeout"})


@scenario()
async def sources_slow(trial: Trial) -> None:
    """Both services answer late, but in time: nothing pauses and nothing is retried."""
    async with trial.system(push=1, email=1, provider_timeout_s=PATIENT_S) as system:
        for source in ("users", "templates"):
            await system.providers.fault(source, mode="slow", delay_ms=100)
        async with flowing(trial, system, 800, per_s=200):
            pass
        system.healed()
        assert not system.counted()["retried"], dict(system.counted())
        assert not [*breaker_changes(system.workers, "users"), *breaker_changes(system.workers, "templates")]


@scenario(Bounds(failed={"user_not_found": 100, "template_not_found": 100}))
async def sources_know_nothing(trial: Trial) -> None:
    """The services answer 404 for some users and templates: the messages that need them end in failed.queue at once,
    without a call to a provider, and no other messages do.
    """
    async with trial.system(push=1, email=1, provider_timeout_s=PATIENT_S) as system:
        nobody = [one(system, "users", f"nobody-{number}") for number in range(100)]
        nothing = [
            one(system, "templates", f"user-{number}", template_code=f"NONE_{number % 10}") for number in range(100)
        ]
        parcels = [*nobody, *nothing, *system.writer.write(800)]
        trial.draw.shuffle(parcels)
        await system.load.stream(parcels, per_s=150, draw=trial.draw)
        assert not [*breaker_changes(system.workers, "users"), *breaker_changes(system.workers, "templates")]
    called = {parcel.key for parcel in [*nobody, *nothing]} & system.ledgers.tries.keys()
    assert not called, f"{len(called)} calls for messages without recipient or content"


@scenario(Bounds(failed={"user_invalid": 1 + ODD}))
async def users_unreadable(trial: Trial) -> None:
    """The user service's very first answer, and many later ones, are records that cannot be read: each ends only its
    own messages, and all others are sent at once.
    """
    async with trial.system(push=1, provider_timeout_s=PATIENT_S) as system:
        await system.load.publish([one(system, "users", "odd-0", priority="high")])
        others = [one(system, "users", f"user-{number}") for number in range(1000, 1300)]
        await system.load.publish(others)
        await system.delivered(len(others), 10)
        await system.load.publish([one(system, "users", f"odd-{number}") for number in range(1, 1 + ODD)])
        more = [one(system, "users", f"user-{number}") for number in range(1300, 1600)]
        await system.load.publish(more)
        await system.delivered(len(others) + len(more), 10)
    assert not breaker_changes(system.workers, "users"), "a record has been taken for the service"


@scenario()
async def users_fail_for_one(trial: Trial) -> None:
    """The user service fails for one user only, from the first lookup on: the channel continues for all other users."""
    async with trial.system(push=1, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("users", target="user-1", **DOWN)
        # No lookup has been answered yet, so the first failure is taken for a failure of the service, and the channel
        # pauses.
        await system.load.publish([one(system, "users", "user-1", priority="high")])
        await workers_pause(system, PAUSES_S)
        others = [one(system, "users", f"user-{number}") for number in range(1000, 1300)]
        await system.load.publish(others)
        await system.delivered(len(others), 15)
        before = len(breaker_changes(system.workers, "users", "open"))
        # Other lookups have been answered now, so the failure belongs to that user, no matter how many messages the
        # user gets.
        await system.load.publish([one(system, "users", "user-1") for _ in range(100)])
        more = [one(system, "users", f"user-{number}") for number in range(1300, 1600)]
        await system.load.publish(more)
        await system.delivered(len(others) + len(more), 10)
        opened = len(breaker_changes(system.workers, "users", "open")) - before
        assert not opened, f"one user's trouble has stopped all others {opened} times"
        await system.providers.heal()
        system.healed()
