"""Tests normal operation and faults so small that no one has to be told."""

from __future__ import annotations

from tests.faults.harness.scale import PATIENT_S, UNHURRIED, scaled_variables
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.worker_log import events
from tests.faults.load.batches import Item, mixed, post_batch
from tests.support.waiting import eventually_async

#: number of SMS to a user who has opted out
UNWANTED = 100
#: levels of the ladder that are run at their real lengths, seconds
LEVELS_S = (1, 5, 15, 60)
#: a message that enters a level is back at most this long after the level's end, seconds
BACK_S = 1.5
#: a retry is logged at most this long after it was confirmed, seconds
LOGGED_S = 0.1
#: No more than this: 20 calls within 30 s, half of them failed, would open the breaker.
A_LEVEL = 2


#: longest time of 99 of 100 answers, seconds: a gateway that waits for something unresponsive takes its whole 5 s, a
#: busy machine with two cores was seen to take 1.3 s
CALM_P99_S = 2.5


@scenario(Bounds(p99_s=CALM_P99_S), quick=True)
async def no_fault(trial: Trial) -> None:
    """Nothing is broken, and messages for all three channels arrive over HTTP and directly on the queues: each message
    is delivered exactly once, and messages that their recipient does not want are skipped.
    """
    async with trial.system(push=1, email=1, sms=1, **UNHURRIED) as system:
        parcels = system.writer.write(2000 - UNWANTED) + system.writer.write_unwanted(UNWANTED)
        trial.draw.shuffle(parcels)
        await system.load.stream(parcels, per_s=200, draw=trial.draw)
    skipped = len(system.ledgers.skipped)
    assert skipped == UNWANTED, f"{skipped} were skipped, {UNWANTED} not wanted"


@scenario()
async def mixed_batches(trial: Trial) -> None:
    """Batches mix good, bad and repeated notifications: each item gets its own result, and each
    good one is sent once.
    """
    async with trial.system(push=1, email=1, sms=1, **UNHURRIED) as system:
        for _ in range(3):
            items = mixed(system.writer, trial.draw, good=400, several=50, bad=50)
            await told(system, items)
            # Post the same batches again, as a caller would that never saw the answer.
            await told(system, items)
        trial.note(f"{len(items)} items a batch, each batch posted twice")


async def told(system: System, items: list[Item]) -> None:
    statuses = await post_batch(system, items)
    wrong = [(item.document, status) for item, status in zip(items, statuses, strict=True) if status != item.status]
    assert not wrong, f"{len(wrong)} wrong verdicts, such as {wrong[0]}"


@scenario(Bounds(drain_s=90))
async def ladder_unscaled(trial: Trial) -> None:
    """Calls fail and are retried through the ladder's real levels of 1 s, 5 s, 15 s and 1 min: each message is back
    after that time, at most 1.5 s later.
    """
    # The product's own backoff is almost zero here, so only the provider's Retry-After selects the level.
    variables = scaled_variables(1) | {"RETRY_BASE_S": "0.001"}
    async with trial.system(push=1, variables=variables, provider_timeout_s=PATIENT_S) as system:
        for level_s in LEVELS_S:
            await some_fail(system, level_s)
    accepted = {call.key[1]: call.at for call in system.ledgers.calls}
    retries = list(events(system.workers, "retry"))
    assert len(retries) == A_LEVEL * len(LEVELS_S), f"{len(retries)} retries"
    for level_s in LEVELS_S:
        took = [accepted[each["request_id"]] - each["at"] for each in retries if each["delay_s"] == level_s]
        shown = f"{level_s} s: back after {min(took):.2f} to {max(took):.2f} s"
        trial.note(shown)
        assert level_s - LOGGED_S <= min(took), shown
        assert max(took) <= level_s + BACK_S, shown


async def some_fail(system: System, level_s: int) -> None:
    """Lets the next two calls be answered 503 with this Retry-After, and the one after them be accepted."""
    await system.providers.fault("fcm", mode="status", status=503, retry_after=level_s, count=A_LEVEL)
    await system.load.publish(system.writer.write(A_LEVEL))

    async def struck() -> bool:
        return not await system.providers.standing()

    await eventually_async(struck)
    before = await system.providers.accepted_calls()
    await system.load.publish([system.writer.one()])
    await system.delivered(before + 1)
