"""Tests operators at failed.queue: replays of every kind of dead letter, two operators at once, and one who dies during
a replay.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from typing import Any

from tests.faults.faults.deaths import EACH, VARIABLES, Deaths
from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.collecting import drained
from tests.faults.ledger.failed_faces import all_buried, dead_lettered, listed, replayed_by_command, replayed_over_http
from tests.faults.load.traffic import flowing
from tests.support.peers.source_service import source_service

#: messages that cannot be read as an envelope of their channel are never sent
UNDECODABLE = {"invalid_json": EACH, "invalid_envelope": EACH, "wrong_channel": EACH}
LOOKS = 50
REPLAYED = 500


@scenario(Bounds(failed=dict(UNDECODABLE)), quick=True)
async def replay_by_each_route(trial: Trial) -> None:
    """Messages reach failed.queue by every possible route and are replayed, over HTTP and by command: each is sent
    once, and bodies that are no envelope stay in failed.queue.
    """
    async with source_service() as templates:
        variables = {**VARIABLES, "TEMPLATE_ENDPOINT": templates.url}
        async with trial.system(
            push=1, email=1, sms=1, provider_timeout_s=PATIENT_S, start_workers=False, variables=variables
        ) as system:
            deaths = Deaths(system, templates)
            await deaths.by_the_broker()
            await system.start_workers()
            await deaths.by_the_provider()
            await deaths.by_its_content()
            await deaths.end_their_causes()
            items = await found(system, deaths.reasons)
            system.healed()
            await replay_first_half(system, [item["id"] for item in items[0::2]])
            second = [item["id"] for item in items[1::2]]
            check(await replayed_by_command(system, "--ignore-expiry", *second), len(second) - 3, undecodable=3)
            await drained(system.broker, system.vhost, trial.bounds.drain_s)
            await all_buried(system, len(UNDECODABLE) * EACH)
        reached = Counter(call.target for call in system.ledgers.calls)
        late = [parcel.document["recipient"]["push_tokens"][0] for parcel in deaths.reused]
        assert all(reached[target] == 1 for target in late), f"reused request_ids: {[reached[t] for t in late]} calls"
        trial.note("died of: " + ", ".join(f"{reason} {count}" for reason, count in sorted(deaths.reasons.items())))


async def found(system: System, reasons: Counter[str]) -> list[dict[str, Any]]:
    """Returns the entries that ``GET /failed`` lists. Asserts that it lists all dead letters, each with its reason."""
    _, document = await listed(system)
    items: list[dict[str, Any]] = document["items"]
    seen = Counter(item["reason"] for item in items)
    assert seen == reasons, f"listed {dict(seen)}, died of {dict(reasons)}"
    return sorted(items, key=lambda item: (item["reason"], item["request_id"] or ""))


async def replay_first_half(system: System, ids: list[str]) -> None:
    """Replays the first half as it is, then the message whose latest time of sending is now in the past."""
    check(await replayed_over_http(system, ids=ids), len(ids) - 4, undecodable=3, expired=1)
    check(await replayed_over_http(system, ids=ids, ignore_expiry=True), 1, undecodable=3)


def check(answer: dict[str, Any], done: int, **skipped: int) -> None:
    """Asserts that ``done`` messages were replayed, and that the answer says why the others were not."""
    seen = Counter(each["reason"] for each in answer["skipped"])
    assert answer["done"] == done and seen == skipped, f"{done} and {skipped} expected: {answer}"
    assert all(each["detail"] for each in answer["skipped"]), f"skipped without saying why: {answer}"


@scenario()
async def failed_queue_browsed(trial: Trial) -> None:
    """Two operators list failed.queue 50 times each while failures arrive: each list is complete,
    or the answer is 409.
    """
    count = 600
    async with trial.system(push=1, gateways=2) as system:
        await system.providers.fault("fcm", mode="status", error_code="UNREGISTERED")
        trial.bounds.failed = {"recipient_invalid": count}
        async with flowing(trial, system, count, per_s=40):
            seen = await asyncio.gather(browse(system, 0), browse(system, 1))
        await all_buried(system, count)
        _, document = await listed(system)
        assert len(document["items"]) == count, f"{len(document['items'])} listed at the end, {count} died"
        trial.note("; ".join(f"operator {n}: {a[200]} lists, {a[409]} times busy" for n, a in enumerate(seen, 1)))
        assert all(answers[200] for answers in seen), "one operator never got in"


async def browse(system: System, gateway: int) -> Counter[int]:
    """Lists failed.queue until 50 answers have come. Returns the number of answers by status. Raises AssertionError for
    a misleading list.
    """
    answers: Counter[int] = Counter()
    for _ in range(LOOKS):
        before = system.counted().get("failed", 0)
        status, document = await listed(system, gateway)
        answers[status] += 1
        assert status in (200, 409), f"GET /failed: {status} {document}"
        if status == 200:
            ids = {item["id"] for item in document["items"]}
            whole = len(ids) == len(document["items"]) == document["scanned"] and not document["truncated"]
            assert whole, f"{len(ids)} ids of {len(document['items'])} items of {document['scanned']} scanned"
            assert len(ids) >= before, f"{len(ids)} listed, {before} were there before the question"
    return answers


@scenario(drawn=True)
async def operator_killed_while_replaying(trial: Trial) -> None:
    """An operator who replays 500 messages is killed with SIGKILL in the middle, three times: nothing is lost and
    nothing is sent twice.
    """
    async with trial.system(push=2, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="status", error_code="UNREGISTERED")
        await system.load.publish(system.writer.write(REPLAYED))
        await all_buried(system, REPLAYED)
        await system.providers.heal()
        left = [REPLAYED]
        for _ in range(3):
            await die_at_ack(system, trial.draw.randint(1, left[-1]))
            await drained(system.broker, system.vhost, trial.bounds.drain_s)
            left.append(await dead_lettered(system))
        system.healed()
        done = await replayed_over_http(system, all=True)
        assert not done["skipped"], f"not replayed: {done['skipped'][:3]}"
        dropped = system.counted().get("duplicates", 0)
        trial.note(f"in failed.queue before and after each death: {left}; second copies dropped: {dropped}")


async def die_at_ack(system: System, nth: int) -> None:
    """Replays everything as an operator who is killed at the ``nth`` ack."""
    with (system.directory / "operator.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.harness.operator_process", str(nth)),
            env=system.variables,
            cwd=system.directory,
            stdout=log,
            stderr=log,
        )
    code = await process.wait()
    assert code == -signal.SIGKILL, f"the operator was to die at ack {nth}, and ended with {code}"
