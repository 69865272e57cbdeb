"""Tests many copies of one request_id: repeated by its caller, used by two callers, or redelivered by the broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tests.faults.faults.disconnecting import close, consuming
from tests.faults.harness.scale import PATIENT_S, UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.ledgers import Ledgers
from tests.faults.load.envelopes import Parcel, given
from tests.support.waiting import eventually_async

#: messages that are sent many times
IDS = 30
#: copies of each: a third through each of two gateways, a third directly onto the queue
COPIES = 50
#: number of request_ids for which two bodies are sent
PAIRS = 200


@scenario(quick=True)
async def one_id_fifty_times(trial: Trial) -> None:
    """The same notification is sent 50 times at once, through two gateways and directly onto the queue: the provider is
    called once.
    """
    async with trial.system(push=2, email=1, sms=1, gateways=2, provider_timeout_s=PATIENT_S) as system:
        await everywhere_at_once(system, system.writer.write(IDS))
        system.healed()
    called_again = {key: calls for key, calls in system.ledgers.tries.items() if calls > 1}
    assert not called_again, f"the provider was called again for {called_again}"
    trial.note(f"{IDS * COPIES} copies; {answers(system.ledgers)}")


@scenario()
async def one_id_fifty_times_while_the_provider_fails(trial: Trial) -> None:
    """The same notification is sent 50 times at once while the provider answers every call with 503, until it works
    again: each message is accepted by the provider once.
    """
    async with trial.system(push=2, gateways=2, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="status", status=503)
        await everywhere_at_once(system, system.writer.write(IDS))
        # The first failures are over: the breaker is open, and copies are in the worker, in the ladder and in the
        # queue.
        await eventually_async(lambda: system.counted().get("retried", 0) > 0)
        await asyncio.sleep(3)
        await system.providers.heal()
        system.healed()
    trial.note(f"{sum(system.ledgers.tries.values())} calls for {IDS} messages")


async def everywhere_at_once(system: System, parcels: Iterable[Parcel]) -> None:
    """Sends every copy of every parcel at the same time."""
    copies = [parcel for parcel in parcels for _ in range(COPIES)]
    system.draw.shuffle(copies)
    straight, posted = copies[::3], [parcel for number, parcel in enumerate(copies) if number % 3]
    await asyncio.gather(system.load.post(posted, at_once=len(posted)), system.load.publish(straight))


def answers(ledgers: Ledgers) -> str:
    posts = Counter(answer.status for answer in ledgers.answers if answer.what.startswith("POST"))
    return ", ".join(f"{count} answered {status}" for status, count in sorted(posts.items()))


# -- two bodies ------------------------------------------------------------------------------------------------


def pairs(system: System) -> list[tuple[Parcel, Parcel]]:
    """Returns notifications of two callers under one request_id, for two different recipients."""
    whole: dict[str, Any] = {"user_id": None, "template_code": None, "variables": None}
    firsts = [system.writer.one(**whole, **given("push", f"first-{number}")) for number in range(PAIRS)]
    return [
        (first, replace(first, document={**first.document, **given("push", f"second-{number}")}))
        for number, first in enumerate(firsts)
    ]


def one_body_each(ledgers: Ledgers) -> None:
    """Raises AssertionError if two bodies of one request_id were sent."""
    both = [key for key, calls in Counter(call.key for call in ledgers.calls).items() if calls > 1]
    assert not both, f"both bodies were delivered: {both[:5]}"


@scenario()
async def one_id_two_bodies_at_the_gateway(trial: Trial) -> None:
    """Two callers use one request_id for different notifications, one after the other, at the gateway: the second
    caller is answered 422.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        both = pairs(system)
        firsts = await system.load.post([first for first, _ in both])
        seconds = await system.load.post([second for _, second in both])
        system.healed()
    assert {answer.status for answer in firsts} == {202}, answers(system.ledgers)
    assert {answer.status for answer in seconds} == {422}, answers(system.ledgers)
    assert {call.target for call in system.ledgers.calls} == {f"token-first-{number}" for number in range(PAIRS)}


@scenario(Bounds(failed={"request_id_reused": PAIRS}))
async def one_id_two_bodies_in_the_queue(trial: Trial) -> None:
    """Two different notifications with one request_id are published directly onto the queue, one after the other: the
    first is delivered, the second ends in failed.queue (request_id_reused).
    """
    async with trial.system(push=2, **UNHURRIED) as system:
        both = pairs(system)
        await system.load.publish([first for first, _ in both])
        await system.delivered(PAIRS)
        await system.load.publish([second for _, second in both])
        system.healed()
    assert {call.target for call in system.ledgers.calls} == {f"token-first-{number}" for number in range(PAIRS)}


@scenario(Bounds(failed={"request_id_reused": PAIRS}), drawn=True)
async def one_id_two_bodies_in_a_race(trial: Trial) -> None:
    """Two different notifications with one request_id are published at the same time, over all lanes and to two
    workers: one of them is delivered, the other is kept in failed.queue.
    """
    async with trial.system(push=2, **UNHURRIED) as system:
        both = pairs(system)
        await asyncio.gather(*(system.load.publish(shuffled(trial, copies)) for copies in zip(*both, strict=True)))
        system.healed()
    one_body_each(system.ledgers)
    trial.note(f"the second body won {sum('second' in call.target for call in system.ledgers.calls)} of {PAIRS}")


@scenario(Bounds(failed={"request_id_reused": (0, PAIRS)}), drawn=True)
async def one_id_two_bodies_in_a_race_of_gateways(trial: Trial) -> None:
    """Two different notifications with one request_id are posted at the same time through two gateways: if both were
    answered 202, one is delivered and the other is kept in failed.queue.
    """
    async with trial.system(push=2, gateways=2, **UNHURRIED) as system:
        both = pairs(system)
        posted = await asyncio.gather(
            *(
                asyncio.gather(*(system.load.post_one(parcel, gateway) for gateway, parcel in enumerate(pair)))
                for pair in both
            )
        )
        system.healed()
    one_body_each(system.ledgers)
    twice = sum(all(answer.status == 202 for answer in pair) for pair in posted)
    trial.note(f"both were answered 202 {twice} times of {PAIRS}")
    assert len(system.ledgers.failed) == twice, f"{len(system.ledgers.failed)} were kept, {twice} had both a 202"


def shuffled(trial: Trial, parcels: Sequence[Parcel]) -> list[Parcel]:
    return trial.draw.sample(parcels, len(parcels))


# -- redelivered ----------------------------------------------------------------------------------------------

#: All messages are in one lane. The first of them is finished soon, and the worker's careful beginning ends with it.
#: There are no more than 32: the broker returns a consumer's unacked messages in order only up to that number, and the
#: first has to come first.
IN_HAND = 30
FIRST_MS, REST_MS = 2500, 7000


@scenario()
async def given_out_again_while_being_sent(trial: Trial) -> None:
    """The broker closes a worker's connection while 30 slow sends are in progress and redelivers all of the messages to
    the same process: the process waits for its own sends and calls the provider once for each message.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        management = trial.stage.rabbitmq.management
        connection = await consuming(management, system.vhost, system.workers[0])
        first, *rest = system.writer.write(IN_HAND, priority="high")
        await sent_slowly(system, [first], FIRST_MS, 1)
        await sent_slowly(system, rest, REST_MS, IN_HAND)
        await in_hand(trial, system, IN_HAND, IN_HAND)
        await close(management, connection)
        await sends_and_copies(system, 2 * (IN_HAND - 1))
        running = sum(call.ended_at is None for call in await system.providers.accepted())
        await system.providers.heal()
        system.healed()
    trial.note(f"{running} were given out again while their first sends ran")
    assert running == IN_HAND - 1, f"{running} first sends were still running"
    assert set(system.ledgers.tries.values()) == {1}, f"called {sum(system.ledgers.tries.values())} times"
    copies = system.ledgers.counted["duplicates"]
    assert copies >= running, f"{running} were given out again, {copies} seen as copies"


async def sends_and_copies(system: System, least: int) -> None:
    """Waits until the worker holds at least ``least`` messages: sends that continue although their channel is closed,
    and the redelivered copies.
    """

    async def reached() -> bool:
        return int(str((await system.health_of(system.workers[0]))["in_flight"])) >= least

    await eventually_async(reached)


async def sent_slowly(system: System, parcels: Sequence[Parcel], delay_ms: int, calls: int) -> None:
    """Publishes the parcels; from now on each call takes ``delay_ms``. Returns when the provider has been called
    ``calls`` times in all.
    """
    await system.providers.fault("fcm", mode="slow", delay_ms=delay_ms)
    await system.load.publish(parcels)
    await system.delivered(calls)


async def in_hand(trial: Trial, system: System, least: int, most: int) -> None:
    """Waits until the broker counts ``least`` to ``most`` messages as delivered and not acked."""

    async def counted() -> bool:
        queues = await asyncio.to_thread(trial.stage.rabbitmq.list_queues, system.vhost)
        return least <= sum(counts.unacknowledged for counts in queues.values()) <= most

    await eventually_async(counted)
