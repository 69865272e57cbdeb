"""Tests a rolling upgrade: today's workers read what earlier versions left in the queues and in Redis."""

from __future__ import annotations

import asyncio
from collections import Counter

import redis

from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger import wire
from tests.faults.ledger.ledgers import Ledgers
from tests.faults.ledger.wire import DROPPED, GoldenMessage


@scenario()
async def messages_of_every_version(trial: Trial) -> None:
    """Messages and records of every earlier version wait before a worker starts: each request_id ends as its fixture
    states.
    """
    for version in wire.versions():
        messages = wire.messages(version)
        trial.bounds.failed = dict(Counter(each.reason for each in messages if each.reason))
        plan = {"start_workers": False, "clock_ms": wire.read_at_ms(version), **UNHURRIED}
        async with trial.system(push=1, email=1, sms=1, **plan) as system:
            await asyncio.to_thread(remember, system.redis_url, wire.commands(version))
            await left_behind(system, messages)
            await system.start_workers()
        check_ends(messages, system.ledgers)
        ends = Counter(each.end.partition(":")[0] for each in messages)
        trial.note(f"version {version}: " + ", ".join(f"{count} {end}" for end, count in sorted(ends.items())))


def remember(redis_url: str, commands: list[tuple[str, ...]]) -> None:
    """Puts the records into Redis as their version wrote them."""
    with redis.Redis.from_url(redis_url) as client:
        for command in commands:
            client.execute_command(*command)


async def left_behind(system: System, messages: list[GoldenMessage]) -> None:
    """Puts the messages onto their lanes. Copies of settled messages are not counted as accepted."""
    fates = await system.publisher.publish_all([each.publication for each in messages])
    assert set(fates) == {None}, f"not stored: {fates}"
    for each in messages:
        key = each.lane.channel, each.id
        system.ledgers.attempted.add(key)
        if each.end != DROPPED and names_itself(each):
            system.ledgers.accepted.add(key)


def check_ends(messages: list[GoldenMessage], led: Ledgers) -> None:
    """Checks that each request_id has come to its end and to no other, and that each of its targets was sent to once.
    Raises AssertionError.
    """
    served = Counter((call.key[1], call.target) for call in led.calls)
    due = Counter((each.id, target) for each in messages for target in each.due)
    assert served.keys() == due.keys(), f"sent to {served - due} that were not due, not to {due - served}"
    ended = {entry.key[1]: entry.reason for entry in led.failed if entry.key}
    dead = {each.id: each.reason for each in messages if each.reason and names_itself(each)}
    assert ended == dead, f"in failed.queue {ended}, expected {dead}"
    dropped = sum(each.end == DROPPED for each in messages)
    assert led.counted["duplicates"] == dropped, f"{led.counted['duplicates']} copies dropped, expected {dropped}"


def names_itself(message: GoldenMessage) -> bool:
    """Returns whether the body names its request_id, also in failed.queue."""
    return message.reason != "invalid_json"
