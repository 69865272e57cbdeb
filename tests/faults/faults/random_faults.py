"""Draws faults at random, one after another: the table of faults, the schedule, and the cost that each may have."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.faults.redis_faults import kill_between_fsyncs
from tests.faults.harness.member import Member
from tests.faults.harness.stage import Stage
from tests.faults.harness.system import System
from tests.faults.proxy import Proxy

#: most messages that a worker has in flight (``PREFETCH``)
IN_HAND = 32
#: pause between two faults (from, to), seconds
PAUSE_S = (0.5, 6.0)
#: time that a broker takes to start again, in addition to the drawn time, seconds
RESTART_S = 8.0
#: most answers that are cut by one fault
MOST_CUTS = 8
PROVIDERS = ("fcm", "smtp", "twilio")


@dataclass(frozen=True)
class Ground:
    """Holds everything that faults can strike. ``mortal`` names the workers that may be killed; the others live on, so
    that a leak shows.
    """

    stage: Stage
    system: System
    between: Sequence[Proxy]
    mortal: Sequence[str]
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Returns the seconds since this was made."""
        return time.monotonic() - self.began

    def worker(self, name: str) -> Member:
        return next(worker for worker in self.system.workers if worker.name == name)


@dataclass(frozen=True)
class Strike:
    """Describes one coming fault: the pause before it, its target, and its length or number of calls."""

    pause_s: float
    fault: str
    who: str
    lasts_s: float
    calls: int = 0

    @property
    def doubles(self) -> int:
        """Returns the number of second sends that it may cause."""
        return self.calls if self.fault == "answers_cut" else FAULTS[self.fault].doubles

    @property
    def planned_s(self) -> float:
        return self.pause_s + self.lasts_s + (RESTART_S if self.fault == "broker_killed" else 0.0)

    def __str__(self) -> str:
        what = f"{self.fault} {self.who}".strip()
        return f"{what} x{self.calls}" if self.calls else f"{what} {self.lasts_s:.1f} s"


@dataclass(frozen=True)
class Fault:
    """Describes a kind of fault. ``targets`` selects the workers that it may strike, given all workers and those that
    may be killed; () if there is only one target.
    """

    act: Callable[[Ground, Strike], Awaitable[None]]
    lasts_s: tuple[float, float]
    doubles: int
    targets: Callable[[Sequence[str], Sequence[str]], Sequence[str]] = lambda workers, mortal: ()


def schedule(draw: random.Random, planned_s: float, workers: Sequence[str], mortal: Sequence[str]) -> list[Strike]:
    """Draws faults for about ``planned_s`` seconds: each kind once first, then any kind.

    The same seed draws the same faults, and a longer schedule begins with those of a shorter one.
    """
    strikes: list[Strike] = []
    each = draw.sample(sorted(FAULTS), len(FAULTS))
    while (strike := _drawn(draw, each.pop() if each else "", workers, mortal)).planned_s <= planned_s:
        strikes.append(strike)
        planned_s -= strike.planned_s
    return strikes


def _drawn(draw: random.Random, name: str, workers: Sequence[str], mortal: Sequence[str]) -> Strike:
    name = name or draw.choice(sorted(FAULTS))
    targets = FAULTS[name].targets(workers, mortal)
    who = draw.choice(targets) if targets else ""
    calls = draw.randint(1, MOST_CUTS) if name == "answers_cut" else 0
    return Strike(draw.uniform(*PAUSE_S), name, who, draw.uniform(*FAULTS[name].lasts_s), calls)


# -- what each does; the fault is over when it returns ----------------------------------------------------------


async def _worker_killed(ground: Ground, strike: Strike) -> None:
    ground.worker(strike.who).kill()


async def _worker_frozen(ground: Ground, strike: Strike) -> None:
    worker = ground.worker(strike.who)
    worker.freeze()
    try:
        await asyncio.sleep(strike.lasts_s)
    finally:
        worker.thaw()


async def _broker_killed(ground: Ground, strike: Strike) -> None:
    await asyncio.to_thread(ground.stage.rabbitmq.kill)
    await asyncio.sleep(strike.lasts_s)
    await asyncio.to_thread(ground.stage.rabbitmq.start)


async def _redis_killed(ground: Ground, strike: Strike) -> None:
    await asyncio.to_thread(kill_between_fsyncs, ground.stage.redis)
    await asyncio.sleep(strike.lasts_s)
    await asyncio.to_thread(ground.stage.redis.start)


async def _connections_reset(ground: Ground, strike: Strike) -> None:
    for proxy in ground.between:
        proxy.reset()


async def _provider_unavailable(ground: Ground, strike: Strike) -> None:
    status = 451 if strike.who == "smtp" else 503
    await _standing(ground, strike, mode="status", status=status)


async def _provider_slow(ground: Ground, strike: Strike) -> None:
    await _standing(ground, strike, mode="slow", delay_ms=300)


async def _standing(ground: Ground, strike: Strike, **fault: object) -> None:
    await ground.system.providers.fault(strike.who, **fault)
    await asyncio.sleep(strike.lasts_s)
    await ground.system.providers.heal(strike.who)


async def _answers_cut(ground: Ground, strike: Strike) -> None:
    """Lets a number of calls be accepted and their answers be cut; what is left of that number at the end is lifted."""
    await ground.system.providers.fault(strike.who, mode="reset_after_accept", count=strike.calls)
    await asyncio.sleep(strike.lasts_s)
    await ground.system.providers.heal(strike.who)


def _any_worker(workers: Sequence[str], mortal: Sequence[str]) -> Sequence[str]:
    return workers


def _mortal(workers: Sequence[str], mortal: Sequence[str]) -> Sequence[str]:
    return mortal


def _any_provider(workers: Sequence[str], mortal: Sequence[str]) -> Sequence[str]:
    return PROVIDERS


FAULTS = {
    "worker_killed": Fault(_worker_killed, (0.0, 0.0), IN_HAND, _mortal),
    # Calls that were in progress when the worker froze have timed out when it continues: they are ambiguous.
    "worker_frozen": Fault(_worker_frozen, (1.0, 6.0), IN_HAND, _any_worker),
    "broker_killed": Fault(_broker_killed, (0.0, 3.0), 0),
    "redis_killed": Fault(_redis_killed, (0.0, 3.0), 0),
    "connections_reset": Fault(_connections_reset, (0.0, 0.0), 0),
    "provider_unavailable": Fault(_provider_unavailable, (1.0, 8.0), 0, _any_provider),
    "provider_slow": Fault(_provider_slow, (1.0, 8.0), 0, _any_provider),
    "answers_cut": Fault(_answers_cut, (1.0, 3.0), MOST_CUTS, _any_provider),
}
