"""Nothing is broken."""

from __future__ import annotations

from tests.faults.bounds import Bounds
from tests.faults.scenario import scenario
from tests.faults.trial import Trial


@scenario(Bounds(p99_s=0.5), quick=True)
async def no_fault(trial: Trial) -> None:
    """Nothing goes wrong: all three channels, over HTTP and straight onto the queues, each message exactly once."""
    async with trial.system(push=1, email=1, sms=1) as system:
        parcels = system.writer.write(2000)
        await system.load.stream(parcels, per_s=400, draw=trial.draw)
