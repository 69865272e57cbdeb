"""Tests deaths while a message is forwarded to the ladder: nothing is lost between two queues, and nothing comes out of
both.
"""

from __future__ import annotations

from typing import Any

from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE
from tests.faults.harness.scale import BREAKERS_NEVER_OPEN
from tests.faults.harness.scenario import scenario
from tests.faults.harness.trial import Trial
from tests.faults.harness.worker_process import FORWARD_POINTS
from tests.faults.ledger.bounds import Bounds
from tests.faults.load.envelopes import Parcel, keys

MESSAGES = 60
#: FAILING first calls fail, and each worker process dies at its third forward
FAILING, NTH = 40, 3


@scenario(Bounds(doubles_exactly=0, drain_s=20), quick=True)
async def killed_while_forwarding(trial: Trial) -> None:
    """One worker dies before a retry is stored on the ladder, another after the broker's confirm, a third after the
    record in Redis: each message is delivered exactly once.
    """
    one_in_hand = {"PREFETCH": "1", **BREAKERS_NEVER_OPEN}
    plan: dict[str, Any] = {
        "gateways": 0,
        "variables": one_in_hand,
        "points": FORWARD_POINTS,
        "nth": NTH,
        "start_workers": False,
    }
    async with trial.system(push=1, **plan) as system:
        await system.providers.fault("fcm", mode="status", status=503, count=FAILING)
        await system.load.publish(system.writer.write(MESSAGES))
        await system.start_workers()
        await system.delivered(MESSAGES, deadline_s=15)
        assert system.deaths == len(FORWARD_POINTS), f"{system.deaths} deaths"
    trial.note(f"died {', '.join(point.replace('_', ' ') for point in FORWARD_POINTS)}")


@scenario(Bounds(drain_s=20), quick=True)
async def moved_back_with_old_headers(trial: Trial) -> None:
    """Dead letters are moved from failed.queue to their lanes with the headers that the broker gave them (for example
    by a shovel), and have to be retried: the broker drops none of them as a cycle.
    """
    async with trial.system(push=1, gateways=0, variables=BREAKERS_NEVER_OPEN) as system:
        await system.providers.fault("fcm", mode="status", status=503, count=FAILING)
        parcels = system.writer.write(MESSAGES)
        fates = await system.publisher.publish_all([_moved(parcel) for parcel in parcels])
        assert not any(fates), fates
        system.ledgers.attempted |= keys(parcels)
        system.ledgers.accepted |= keys(parcels)
        await system.delivered(MESSAGES, deadline_s=15)


def _moved(parcel: Parcel) -> Publication:
    """Returns the message as it comes out of failed.queue, where the broker put it after too many deliveries."""
    lane = parcel.lane
    death: dict[str, Any] = {
        "queue": lane.queue,
        "reason": "delivery_limit",
        "count": 1,
        "exchange": EXCHANGE,
        "routing-keys": [lane.routing_key],
    }
    first = {"x-first-death-queue": lane.queue, "x-first-death-reason": "delivery_limit"}
    headers = {"x-death": [death], "x-first-death-exchange": EXCHANGE, **first}
    return Publication(EXCHANGE, lane.routing_key, parcel.body, headers, parcel.request_id)
