"""Tests messages that kill every process that handles them, and messages that cannot be read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from shared.message.channels import CHANNELS, PRIORITIES, Lane, Priority, lanes_of
from shared.worker.poison import SUSPECT_AT
from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.blame import second_sends_by_death
from tests.faults.ledger.bounds import Bounds
from tests.faults.load.envelopes import Parcel, given
from tests.faults.load.traffic import unending
from tests.support.waiting import eventually_async

#: messages in each of the three lanes
A_LANE = 200
#: Each life of the poison begins only when the lease of the life before has run out, or later; these settings keep that
#: wait short.
SOON_BACK = {"LEASE_S": "1.2", "HANDLING_BUDGET_S": "0.55", "RETRY_CAP_S_PUSH": "0.7"}
#: It is suspected from the third life on and dead-lettered at the eighth; the broker itself would give up after 20.
FEWEST_DEATHS, MOST_DEATHS = 3, 21

#: until the poison is suspected, it dies together with the other messages in flight: PREFETCH
IN_HAND = 256

ONE_POISON = Bounds(failed={"delivery_limit": 1}, doubles=SUSPECT_AT * IN_HAND)


@scenario(ONE_POISON)
async def poison_early_in_the_high_lane(trial: Trial) -> None:
    """The fifth of 200 messages in the high lane kills every process that sends it, while the two other lanes hold 200
    messages each: it alone ends in failed.queue (delivery_limit), no other message is lost or dead-lettered, and from
    its fourth death on no other message is in flight when it kills.
    """
    await one_poison(trial, "high", 5)


@scenario(ONE_POISON, quick=True)
async def poison_in_the_middle_of_the_medium_lane(trial: Trial) -> None:
    """The hundredth of 200 messages in the medium lane kills every process that sends it: it alone ends in
    failed.queue, no other message is lost or dead-lettered, and from its fourth death on no other message is in flight
    when it kills.
    """
    await one_poison(trial, "medium", 100)


@scenario(ONE_POISON)
async def poison_late_in_the_low_lane(trial: Trial) -> None:
    """One of the last messages in the low lane kills every process that sends it: it alone ends in failed.queue, no
    other message is lost or dead-lettered, and from its fourth death on no other message is in flight when it kills.
    """
    await one_poison(trial, "low", 195)


async def one_poison(trial: Trial, lane: Priority, position: int) -> None:
    async with trial.system(
        push=1, points=("poison",), every_start=True, start_workers=False, variables=SOON_BACK
    ) as system:
        await system.load.publish(three_lanes(system, lane, position))
        await system.start_workers()
        await eventually_async(lambda: system.counted().get("failed"), 90)
        system.healed()
    died_alone(trial, system)


#: Other messages are always in flight while the poison comes back: PER_S of them per second, each call taking CALL_MS.
PER_S, CALL_MS = 60, 100


@scenario(Bounds(failed={"delivery_limit": 1}, doubles=SUSPECT_AT * IN_HAND))
async def poison_amid_traffic(trial: Trial) -> None:
    """A message that kills its process is redelivered again and again while other messages arrive in all lanes: as soon
    as it is suspected, the others are finished or kept away from it, and it dies alone.
    """
    async with trial.system(push=1, points=("poison",), every_start=True, variables=SOON_BACK) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=CALL_MS)
        async with unending(trial, system, per_s=PER_S):
            await system.delivered(PER_S)
            drawn = {"user_id": None, "template_code": None, "variables": None}
            await system.load.publish([system.writer.one("poison", "push", **drawn, **given("push", "poison"))])
            await eventually_async(lambda: system.counted().get("failed"), 90)
        system.healed()
    died_alone(trial, system)


def died_alone(trial: Trial, system: System) -> None:
    by_death = second_sends_by_death(system.ledgers, system.workers[0])
    trial.note(f"{system.deaths} deaths, sent twice after each: {by_death}")
    assert not sum(by_death[SUSPECT_AT:]), f"it did not die alone from its death {SUSPECT_AT + 1} on: {by_death}"
    assert FEWEST_DEATHS <= system.deaths <= MOST_DEATHS, f"{system.deaths} deaths"
    assert [entry.key for entry in system.ledgers.failed] == [("push", "poison")], (
        "an innocent was taken for the poison"
    )


def three_lanes(system: System, lane: Priority, position: int) -> list[Parcel]:
    """Returns messages for the three lanes in turn, so that all lanes fill equally."""
    parcels = [system.writer.one(channel="push", priority=PRIORITIES[n % 3]) for n in range(3 * A_LANE)]
    drawn = {"user_id": None, "template_code": None, "variables": None}
    poison = system.writer.one("poison", "push", priority=lane, **drawn, **given("push", "poison"))
    parcels[3 * position + PRIORITIES.index(lane)] = poison
    return parcels


# -- unreadable messages ---------------------------------------------------------------------------------------

WORKING = ("push", "email", "sms")
HUGE_BYTES = 5 * 1024 * 1024
#: each of these bodies is put once into every lane
NOT_JSON = (b"", b"not json", b'{"request_id": "cut', b"\xff\xfe\x00", b'{"request_id": NaN}')
NO_ENVELOPE = (b"null", b"[]", b"42", b'"text"', b"{}")


def unreadable(lane: Lane) -> list[tuple[str, bytes]]:
    """Returns (reason, body) of everything that must not stop this lane."""
    whole = {"notification_type": lane.channel, **given(lane.channel, "nobody")}
    other = next(channel for channel in CHANNELS if channel != lane.channel)
    broken: tuple[dict[str, Any], ...] = (
        {"content": None},
        {"content": "text"},
        {"recipient": []},
        {"priority": 11},
        {"expires_at": 1},
        {"user_id": []},
    )
    envelopes = [("invalid_envelope", change) for change in broken]
    envelopes += [("wrong_channel", {"notification_type": other})]
    envelopes += [("too_large", {"metadata": {"text": "x" * HUGE_BYTES}})]
    return [
        *(("invalid_json", body) for body in NOT_JSON),
        *(("invalid_envelope", body) for body in NO_ENVELOPE),
        ("invalid_envelope", orjson.dumps({**whole, "request_id": 7})),
        ("invalid_envelope", orjson.dumps({**whole, "request_id": f"not allowed in {lane.routing_key}"})),
        *(
            (reason, orjson.dumps({**whole, "request_id": f"bad-{lane.routing_key}-{number}", **change}))
            for number, (reason, change) in enumerate(envelopes)
        ),
    ]


@scenario()
async def unreadable_messages(trial: Trial) -> None:
    """Bodies that are no JSON, no envelope, for another channel or 5 MB long are mixed with good ones in every lane:
    each ends in failed.queue with its reason, and every good one is delivered.
    """
    lanes = [lane for channel in WORKING for lane in lanes_of(channel)]
    bad = [(lane, reason, body) for lane in lanes for reason, body in unreadable(lane)]
    trial.draw.shuffle(bad)
    trial.bounds.failed = dict(Counter(reason for _, reason, _ in bad))
    async with trial.system(push=1, email=1, sms=1, **UNHURRIED) as system:
        good = system.writer.write(3 * len(bad))
        for number, (lane, _, body) in enumerate(bad):
            await system.load.publish(good[3 * number : 3 * number + 3])
            await system.load.publish_raw(lane.routing_key, body)
    trial.note(f"{len(bad)} of {len(bad) + len(good)} could not be read")
    assert all(entry.attempts == 0 for entry in system.ledgers.failed), "something unreadable was tried"
