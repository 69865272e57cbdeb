"""Runs one scenario once: defines what the scenario is given and what its result is."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import redis

from ops.servers.management import Management
from tests.faults.devices.rules import longest_lag_s
from tests.faults.harness.scenario import Scenario
from tests.faults.harness.stage import Stage
from tests.faults.harness.system import Plan, System, running
from tests.faults.ledger.checker import check
from tests.faults.ledger.collecting import Counts
from tests.faults.ledger.ledgers import Ledgers


class Broker(Counts, Protocol):
    """Describes the broker of a system: one node, or a cluster behind a balancer."""

    @property
    def management(self) -> Management: ...

    def vhost_url(self, vhost: str) -> str: ...


@dataclass
class Result:
    """Holds one row of the report. ``broken`` lists the broken promises; it is [] if all were kept."""

    name: str
    family: str
    says: str
    seed: int
    attempted: int = 0
    accepted: int = 0
    delivered: int = 0
    #: messages that were answered 503 or not at all, and stored all the same
    recovered: int = 0
    skipped: int = 0
    duplicated: int = 0
    #: second sends that the scenario's faults allow
    allowed: int = 0
    dead_lettered: int = 0
    lost: int = 0
    #: time from the end of the fault until the queues were empty, seconds; None if they never were
    recovery_s: float | None = None
    #: devices that showed inboxes, the changes that they showed, holes and stale rows, changes that came twice
    devices: int = 0
    shown: int = 0
    holes: int = 0
    repeated: int = 0
    #: connections of devices that ended, by close code
    ends: dict[str, int] = field(default_factory=dict)
    #: longest time for which a connected device did not show a change, seconds; None if that was not checked
    longest_lag_s: float | None = None
    seconds: float = 0.0
    #: observations of the scenario, for a reader
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Trial:
    """Gives a scenario its servers and its random source. All randomness comes from ``draw``,
    which the seed decides.
    """

    def __init__(self, stage: Stage, scenario: Scenario, seed: int) -> None:
        self.stage = stage
        self.scenario = scenario
        self.seed = seed
        self.draw = random.Random(f"{seed} {scenario.name}")
        self.bounds = scenario.fresh_bounds()
        self.directory: Path = stage.directory / scenario.name
        self.result = Result(scenario.name, scenario.family, scenario.says, seed)

    def note(self, text: str) -> None:
        """Adds a line to the report: counts, times, or what was drawn."""
        self.result.notes.append(text)

    @asynccontextmanager
    async def system(self, broker: Broker | None = None, **plan: Any) -> AsyncIterator[System]:
        """Runs a system on an empty virtual host and an empty Redis. ``plan`` is ``push=2, email=1`` and everything
        else that ``Plan`` takes.

        ``broker``: the stage's own if None. ``store``: ``sqlite`` (the default) or ``postgresql``, where the inboxes
        are. At the end of the block the system is drained, stopped in good order, collected and checked; also when an
        assertion of the block failed (which is recorded, and ends the block): the ledgers say why.
        """
        workers: dict[str, int] = {
            channel: plan.pop(channel) for channel in ("push", "email", "sms", "websocket") if channel in plan
        }
        stage, broker, vhost = self.stage, broker or self.stage.rabbitmq, f"{self.scenario.name}-{uuid.uuid4().hex[:6]}"
        await asyncio.to_thread(empty_redis, stage.redis.url)
        await asyncio.to_thread(broker.management.create_vhost, vhost)
        directory = self.directory / vhost[-6:]
        url = broker.vhost_url(vhost)
        backend = plan.pop("store", "sqlite")
        inboxes = stage.database(backend) if "websocket" in workers else nullcontext()
        async with (
            inboxes as database_url,
            running(
                Plan(workers, database_url=database_url, **plan),
                directory,
                self.draw,
                broker,
                vhost,
                url,
                stage.redis.url,
            ) as system,
        ):
            try:
                yield system
            except AssertionError as exc:
                self.result.broken.append(str(exc) or _where(exc))
            await self.conclude(system)
        await asyncio.to_thread(broker.management.delete_vhost, vhost)

    async def conclude(self, system: System) -> None:
        """Drains, stops, collects and checks the system. The figures and all broken promises go to the result."""
        await system.drain(self.bounds.drain_s)
        await system.settle(self.bounds.equal_s)
        try:
            await system.stop()
        except AssertionError as exc:
            self.result.broken.append(str(exc))
        await system.collect()
        self._write_down(system.ledgers)

    def _write_down(self, led: Ledgers) -> None:
        result = self.result
        result.attempted += len(led.attempted)
        result.accepted += len(led.accepted)
        result.delivered += len(led.delivered)
        result.recovered += len(led.ended - led.accepted)
        result.skipped += len(led.skipped)
        result.duplicated += led.doubles
        result.allowed += self.bounds.doubles if self.bounds.doubles_exactly is None else self.bounds.doubles_exactly
        result.dead_lettered += len(led.failed)
        result.lost += led.lost
        result.devices += len(led.devices)
        result.shown += sum(device.shown for device in led.devices)
        result.holes += sum(len(device.gaps) + len(device.differences) for device in led.devices)
        result.repeated += sum(len(device.doubles) for device in led.devices)
        for end in (end for device in led.devices for end in device.ends):
            result.ends[str(end.code)] = result.ends.get(str(end.code), 0) + 1
        if self.bounds.stale_s is not None:
            result.longest_lag_s = longest_lag_s(led)
        if led.drained_at is not None:
            result.recovery_s = max(result.recovery_s or 0.0, led.drained_at - led.healed_at)
        result.broken += [str(violation) for violation in check(led, self.bounds)]


async def run(stage: Stage, scenario: Scenario, seed: int) -> Result:
    """Runs the scenario once. Every error of the product or of the scenario is in ``broken``, and the stage runs again
    afterwards.
    """
    trial = Trial(stage, scenario, seed)
    began = time.monotonic()
    try:
        async with asyncio.timeout(scenario.longest_s):
            await scenario.body(trial)
    except AssertionError as exc:
        trial.result.broken.append(str(exc) or _where(exc))
    except Exception as exc:  # noqa: BLE001
        # This is the only place that catches everything: the other scenarios must still be run.
        trial.result.broken.append(f"the scenario failed: {exc!r} {_where(exc)}")
    finally:
        await stage.mend()
    trial.result.seconds = time.monotonic() - began
    return trial.result


def _where(exc: BaseException) -> str:
    return " < ".join(
        f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(exc.__traceback__)[-4:])
    )


def empty_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
