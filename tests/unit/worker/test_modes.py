"""Tests how a worker changes from mode to mode, without a broker: what it takes, what it opens, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from shared.broker.incoming import Incoming
from shared.errors import TopologyMismatch
from shared.message.channels import Lane
from shared.message.outcome import HoldCause
from shared.metrics import Metrics
from shared.worker.executor import Executor
from shared.worker.forwards import Forwards
from shared.worker.modes import Flow
from shared.worker.pause import Held, Pause
from shared.worker.poison import SUSPECT_AT, is_suspect
from shared.worker.signals import Signals
from shared.worker.supply import BrokenLanes
from shared.worker.worker import Worker
from tests.support.fakes.incoming import RememberedAcks, make_incoming
from tests.support.waiting import eventually_async


class EmptyLanes:
    """Replaces the supply. Its first ``full`` lanes give one message; each ``take`` calls all of ``on_take``."""

    def __init__(self, full: int = 0, heads: list[Incoming] | None = None) -> None:
        self.full = full
        self.heads = heads or []
        self.journal: list[str] = []
        self.unacked: dict[Lane, int] = {}
        self.on_take: list[Any] = []

    def repair_in_s(self) -> float | None:
        return None

    async def take(self, lane: Lane) -> Any:
        self.journal.append("take")
        for tell in self.on_take:
            tell(lane)
        if self.heads:
            return self.heads.pop(0)
        if self.full:
            self.full -= 1
            return make_incoming(priority=lane.priority)
        return None

    async def take_one(self) -> Any:
        return await self.take(Lane("push", "medium"))

    async def flow(self, unacked: Mapping[Lane, int] | None = None) -> None:
        self.journal.append("flow")
        self.unacked = dict(unacked or {})

    async def widen(self, lane: Lane) -> None:
        self.journal.append(f"widen {lane.queue}")

    async def cancel(self) -> None:
        self.journal.append("cancel")


class UpConsumer:
    """Replaces the consumer and its connection; both are always up."""

    state = "up"

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.connection = self

    def start(self) -> None:
        """Does nothing."""

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def wait_up(self) -> None:
        await asyncio.sleep(0)

    async def cancel(self) -> None:
        self._journal.append("cancel")

    cancel_when_settled = cancel

    async def close(self) -> None:
        """Does nothing."""


class Cause:
    """Replaces the blockers: a probe may always be tried, and the cause is over if ``over`` is set."""

    def __init__(self, over: bool = False) -> None:
        self.over = over

    async def may_probe(self, _cause: HoldCause) -> bool:
        return True

    def is_over(self, _cause: HoldCause) -> bool:
        return self.over


class Holding:
    """Handles messages so that every message has to be held."""

    async def handle(self, _incoming: Any) -> HoldCause:
        return "provider"

    async def requeue(self, _incoming: Any, _cause: HoldCause) -> None:
        """Does nothing: the message counts as forwarded."""

    def waits_for(self, _incoming: Any, _cause: HoldCause) -> bool:
        return True


class Delivering:
    """Handles messages so that every message is delivered."""

    def __init__(self) -> None:
        self.handled: list[Incoming] = []

    async def handle(self, incoming: Incoming) -> None:
        self.handled.append(incoming)

    def waits_for(self, _incoming: Any, _cause: HoldCause) -> bool:
        return True


class Working:
    """Keeps innocent messages running until ``gate`` opens. ``company``: innocents running while a suspect was."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.at_work = 0
        self.done: list[Incoming] = []
        self.company: list[int] = []

    async def handle(self, incoming: Incoming) -> None:
        if is_suspect(incoming):
            self.company.append(self.at_work)
            for _ in range(10):
                await asyncio.sleep(0)
            self.company.append(self.at_work)
        else:
            self.at_work += 1
            await self.gate.wait()
            self.at_work -= 1
        self.done.append(incoming)

    def waits_for(self, _incoming: Any, _cause: HoldCause) -> bool:
        return True


class NeedingUsers:
    """Handles messages so that those with the body ``b"look up"`` have to be held for the user service."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    async def handle(self, incoming: Incoming) -> HoldCause | None:
        if incoming.body == b"look up":
            return "users"
        self.sent.append(incoming.tag)
        return None

    def waits_for(self, incoming: Incoming, cause: HoldCause) -> bool:
        return cause == "users" and incoming.body == b"look up"


class Stuck:
    """Handles messages so that each of them reaches its forward, which ends once ``gate`` opens."""

    def __init__(self) -> None:
        self.forwards = Forwards("push", Metrics())
        self.gate = asyncio.Event()

    async def handle(self, incoming: Incoming) -> None:
        await asyncio.sleep(0)
        with self.forwards.entered(incoming):
            await self.gate.wait()

    async def requeue(self, incoming: Incoming, _cause: HoldCause) -> None:
        await self.handle(incoming)


class Driven:
    """Runs a worker with fakes for the lanes, the consumer, the handler and the blockers."""

    def __init__(
        self,
        lanes: EmptyLanes,
        handler: Any,
        probe_s: float = 5,
        hold_s: float = 300,
        finish_s: float = 5,
        consumer: UpConsumer | None = None,
        over: bool = False,
        forwards: Forwards | None = None,
        limit: int = 10,
    ) -> None:
        metrics = Metrics()
        supply, blockers = cast("Any", lanes), cast("Any", Cause(over))
        self.signals = Signals(BrokenLanes("push", metrics))
        self.held = held = Held()

        def hold(incoming: Incoming, cause: HoldCause) -> None:
            held.keep(incoming, cause)
            self.signals.hold(cause)

        self.forwards = Forwards("push", metrics) if forwards is None else forwards
        self.executor = Executor(handler, self.forwards, limit, hold)
        flow = Flow("push", self.executor, held, supply, self.signals, finish_s=finish_s)
        pause = Pause(
            "push",
            self.executor,
            held,
            supply,
            self.signals,
            handler,
            blockers,
            metrics,
            probe_s=probe_s,
            hold_s=hold_s,
            finish_s=finish_s,
        )
        self.worker = Worker(
            "push",
            cast("Any", consumer or UpConsumer(lanes.journal)),
            self.executor,
            self.forwards,
            held,
            self.signals,
            flow,
            pause,
            metrics,
            shutdown_s=5,
        )


@asynccontextmanager
async def driven(lanes: EmptyLanes, handler: Any, **parts: Any) -> AsyncIterator[Driven]:
    among_fakes = Driven(lanes, handler, **parts)
    run = asyncio.create_task(among_fakes.worker.run())
    try:
        yield among_fakes
    finally:
        among_fakes.worker.stop()
        await asyncio.wait_for(run, 5)


async def test_a_probe_that_wakes_its_worker_is_not_followed_by_another_at_once() -> None:
    lanes = EmptyLanes(full=1)
    async with driven(lanes, Holding(), probe_s=30) as among_fakes:
        worker = among_fakes.worker
        # A lane without a queue reports trouble at each take.
        lanes.on_take.append(among_fakes.signals.trouble)
        await eventually_async(lambda: worker.paused and worker.in_flight == 1)
        asked = len(lanes.journal)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(lanes.journal) <= asked + 1


async def test_a_connection_lost_in_the_careful_mode_is_followed_by_the_careful_mode() -> None:
    lanes = EmptyLanes()
    async with driven(lanes, Holding()) as among_fakes:

        def lose_once(_lane: Lane) -> None:
            lanes.on_take.clear()
            among_fakes.signals.trouble(None)

        lanes.on_take.append(lose_once)
        await eventually_async(lambda: "flow" in lanes.journal)
        # Lanes that flowed again before are cancelled: only one message is in flight in the whole process.
        assert lanes.journal[:3] == ["take", "cancel", "take"]


async def test_a_suspect_is_handled_after_the_lanes_are_cancelled_and_they_flow_again() -> None:
    lanes, handler = EmptyLanes(), Delivering()
    async with driven(lanes, handler) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        lanes.journal.clear()
        suspect = make_incoming(delivery_count=SUSPECT_AT)
        among_fakes.signals.suspect(suspect)
        await eventually_async(lambda: "flow" in lanes.journal)
        assert lanes.journal == ["cancel", "flow"]
        assert handler.handled == [suspect]


async def test_the_worker_ends_when_its_connections_supervision_ends() -> None:
    class Given(UpConsumer):
        async def watch(self) -> None:
            raise TopologyMismatch("another limit")

    lanes = EmptyLanes()
    worker = Driven(lanes, Delivering(), consumer=Given(lanes.journal)).worker
    with pytest.raises(TopologyMismatch, match="another limit"):
        await asyncio.wait_for(worker.run(), 5)


async def test_an_unforeseen_error_in_a_mode_ends_the_worker() -> None:
    def stumble(_lane: Lane) -> None:
        raise KeyError("unforeseen")

    lanes = EmptyLanes()
    lanes.on_take.append(stumble)
    with pytest.raises(KeyError, match="unforeseen"):
        await asyncio.wait_for(Driven(lanes, Delivering()).worker.run(), 5)


async def test_a_message_that_needs_no_look_up_is_sent_while_its_worker_waits_for_the_user_service() -> None:
    lanes, handler = EmptyLanes(), NeedingUsers()
    async with driven(lanes, handler, probe_s=30) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        for tag in range(40):
            # More than the executor starts at a time, so that some wait when the pause begins.
            among_fakes.executor.add(make_incoming(b"look up" if tag % 2 == 0 else b"given", tag=tag))
        await eventually_async(lambda: among_fakes.worker.paused and len(handler.sent) == 20)
        assert sorted(handler.sent) == list(range(1, 40, 2))
        assert among_fakes.worker.in_flight == 20


async def turns() -> None:
    """Lets all tasks run that can run now."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_suspect_that_was_held_is_not_resumed_together_with_the_others() -> None:
    lanes, handler = EmptyLanes(), Working()
    suspect, innocents = make_incoming(delivery_count=SUSPECT_AT), [make_incoming(tag=tag) for tag in (2, 3)]
    async with driven(lanes, handler, over=True) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        for incoming in (*innocents, suspect):
            incoming.probed = True
            among_fakes.held.keep(incoming, "users")
        among_fakes.signals.hold("provider")
        await eventually_async(lambda: handler.at_work == 2)
        await turns()
        assert handler.company == []
        handler.gate.set()
        await eventually_async(lambda: len(handler.done) == 3)
        assert handler.company == [0, 0]


async def test_a_suspect_is_a_probe_only_when_nothing_else_is_running() -> None:
    lanes, handler = EmptyLanes(), Working()
    async with driven(lanes, handler, over=True) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        among_fakes.executor.add(make_incoming(tag=2))
        await eventually_async(lambda: handler.at_work == 1)
        among_fakes.held.keep(make_incoming(delivery_count=SUSPECT_AT), "provider")
        among_fakes.signals.hold("provider")
        await eventually_async(lambda: "cancel" in lanes.journal)
        await turns()
        assert handler.company == []
        handler.gate.set()
        await eventually_async(lambda: len(handler.done) == 2)
        assert handler.company == [0, 0]


async def test_a_suspect_at_the_head_of_a_lane_waits_for_handlers_from_before_a_reconnection() -> None:
    lanes, handler = EmptyLanes(), Working()
    async with driven(lanes, handler) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        among_fakes.executor.add(make_incoming(tag=2))
        await eventually_async(lambda: handler.at_work == 1)
        lanes.heads.append(make_incoming(delivery_count=SUSPECT_AT))
        among_fakes.signals.trouble(None)
        await eventually_async(lambda: not lanes.heads)
        await turns()
        assert handler.company == []
        handler.gate.set()
        await eventually_async(lambda: len(handler.done) == 2)
        assert handler.company == [0, 0]


async def test_a_suspect_waits_for_a_handler_that_runs_longer_than_usual() -> None:
    lanes, handler = EmptyLanes(), Working()
    async with driven(lanes, handler, finish_s=0.001) as among_fakes:
        await eventually_async(lambda: "flow" in lanes.journal)
        among_fakes.executor.add(make_incoming(tag=2))
        await eventually_async(lambda: handler.at_work == 1)
        with capture_logs() as lines:
            among_fakes.signals.suspect(make_incoming(delivery_count=SUSPECT_AT))
            await eventually_async(lambda: [line for line in lines if line["event"] == "suspect_waits"])
        assert handler.company == []
        handler.gate.set()
        await eventually_async(lambda: handler.company == [0, 0])


# -- forwards that cannot finish --------------------------------------------------------------------------------------


@asynccontextmanager
async def stuck(lanes: EmptyLanes, **parts: Any) -> AsyncIterator[tuple[Driven, Stuck]]:
    handler = Stuck()
    async with driven(lanes, handler, forwards=handler.forwards, **parts) as among_fakes:
        try:
            yield among_fakes, handler
        finally:
            handler.gate.set()


@pytest.mark.parametrize("delivery_count", [0, SUSPECT_AT], ids=["innocent", "suspect"])
async def test_the_lanes_flow_although_the_first_message_of_each_cannot_be_forwarded(delivery_count: int) -> None:
    lanes = EmptyLanes(heads=[make_incoming(tag=tag, delivery_count=delivery_count) for tag in (1, 2, 3)])
    async with stuck(lanes) as (among_fakes, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        assert (len(handler.forwards), among_fakes.worker.in_flight) == (3, 3)


async def test_the_lanes_flow_again_although_a_suspect_cannot_be_forwarded() -> None:
    lanes = EmptyLanes()
    async with stuck(lanes) as (among_fakes, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        lanes.journal.clear()
        for tag in (1, 2):
            among_fakes.signals.suspect(make_incoming(tag=tag, delivery_count=SUSPECT_AT))
        await eventually_async(lambda: "flow" in lanes.journal)
        assert len(handler.forwards) == 2


@pytest.mark.parametrize("hold_s", [300, -1], ids=["tried as a probe", "held for long"])
async def test_a_pause_ends_although_its_message_cannot_be_forwarded(hold_s: float) -> None:
    lanes = EmptyLanes()
    async with stuck(lanes, over=True, hold_s=hold_s) as (among_fakes, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        lanes.journal.clear()
        among_fakes.held.keep(make_incoming(), "provider")
        among_fakes.signals.hold("provider")
        await eventually_async(lambda: "flow" in lanes.journal)
        assert len(handler.forwards) == 1


async def test_suspects_that_cannot_be_forwarded_take_no_more_places_than_there_are() -> None:
    lanes = EmptyLanes()
    async with stuck(lanes, limit=2) as (among_fakes, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        for tag in range(4):
            among_fakes.signals.suspect(make_incoming(tag=tag, delivery_count=SUSPECT_AT))
        await eventually_async(lambda: len(handler.forwards) == 2)
        await turns()
        assert len(handler.forwards) == 2
        handler.gate.set()
        await eventually_async(lambda: among_fakes.worker.in_flight == 0)


async def test_a_lane_gets_fewer_messages_while_its_earlier_ones_are_being_forwarded() -> None:
    lanes = EmptyLanes(heads=[make_incoming(tag=1)])
    async with stuck(lanes) as (_, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        assert lanes.unacked == {Lane("push", "medium"): 1}
        await turns()
        assert lanes.journal[-1] == "flow"
        handler.gate.set()
        await eventually_async(lambda: lanes.journal[-1] == "widen push.queue")


async def test_a_forward_that_outlives_its_channel_takes_no_place() -> None:
    lanes = EmptyLanes()
    async with stuck(lanes, limit=1) as (among_fakes, handler):
        await eventually_async(lambda: "flow" in lanes.journal)
        book = RememberedAcks()
        among_fakes.executor.add(make_incoming(tag=1, book=book))
        await eventually_async(lambda: len(handler.forwards) == 1)
        book.is_open = False
        among_fakes.signals.trouble(None)
        await eventually_async(lambda: lanes.journal.count("flow") == 2)
        among_fakes.executor.add(make_incoming(tag=1))
        await eventually_async(lambda: len(handler.forwards) == 2)
