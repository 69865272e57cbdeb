"""Deaths on the way to the ladder: nothing is lost between two queues, and nothing comes out of both."""

from __future__ import annotations

from tests.faults.bounds import Bounds
from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.worker_process import HAND_ON_POINTS

MESSAGES = 60
#: so many first calls fail; each worker process dies at its third hand-on
FAILING, NTH = 40, 3


@scenario(Bounds(doubles_exactly=0, drain_s=20), quick=True)
async def killed_at_the_hand_on(trial: Trial) -> None:
    """A worker dies before a retry is stored on the ladder, another after its confirm, a third after its record: each
    message is delivered exactly once."""
    one_in_hand = {"PREFETCH": "1", "BREAKER_FAILURES": "1000", "BREAKER_WINDOW_CALLS": "1000"}
    plan = {"gateways": 0, "variables": one_in_hand, "points": HAND_ON_POINTS, "nth": NTH, "start_workers": False}
    async with trial.system(push=1, **plan) as system:
        await system.providers.fault("fcm", mode="status", status=503, count=FAILING)
        await system.load.publish(system.writer.write(MESSAGES))
        await system.start_workers()
        await system.delivered(MESSAGES, deadline_s=15)
        assert system.deaths == len(HAND_ON_POINTS), f"{system.deaths} deaths"
    trial.note(f"died {', '.join(point.replace('_', ' ') for point in HAND_ON_POINTS)}")
