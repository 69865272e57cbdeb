"""Runs the real hubs of two nodes in any order of events, with every kind of fault, and shows that each rule is needed.

What is checked, at every frame that a device applies: no hole (it shows exactly the inbox as of the position that it
names), no double, and the right counter. And whenever everything has come to rest: every device is at the end of the
inbox. That needs a check of positions only if a wake-up was lost for good. Waiting for the end of a run would not do:
later traffic heals what should have been shown earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from services.websocket import hub as hub_module
from services.websocket.hub import Hub
from services.websocket.session import Phase as SessionPhase
from services.websocket.session import Session, Suspect
from services.websocket.transport import native
from shared.logs import log_death
from shared.realtime.wakeup import Wakeup
from shared.store.values import Change, Notification, Position
from tests.models.inbox_line import InboxLine
from tests.support.inbox_rows import row
from tests.support.realtime.inboxes import Inboxes, Node, Phone
from tests.support.run.examples import examples

STEPS = 60
#: Runs until a wrong rule must have been found.
ENOUGH = 1500

phones = st.integers(0, 1)
nodes = st.integers(0, 1)
numbers = st.integers(0, 5)


#: What may go wrong, beside swapped wake-ups, which are no fault.
FAULTS = frozenset(
    {"lost", "doubled", "writer", "store", "redis", "killed", "cut", "slow", "erased", "put back", "purged", "checked"}
)


#: Everything at once, and each fault by itself: a run meets one rule far more often if little else goes wrong in it.
FOCUSES = [FAULTS, frozenset[str](), *(frozenset({fault}) for fault in sorted(FAULTS)), frozenset({"cut", "purged"})]


def may(fault: str) -> Callable[[Any], bool]:
    return lambda machine: fault in machine.faults


class Anything(RuleBasedStateMachine):
    """Does whatever can happen. The attributes say what may go wrong, which hub is driven, and what is around it."""

    faults: ClassVar[frozenset[str]] = FAULTS

    hub: ClassVar[type[Hub]] = Hub
    line: ClassVar[type[InboxLine]] = InboxLine
    around: ClassVar[type[Inboxes]] = Inboxes

    def __init__(self) -> None:
        super().__init__()
        self.world = self.around(self.hub, self.line)
        hub_module.log_death = self._died  # type: ignore[attr-defined]

    def _died(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.died.append(error)

    def teardown(self) -> None:
        try:
            self.world.settle()
        finally:
            self.world.close()

    # -- The inbox changes -------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def add(self, count: int) -> None:
        self.world.commit(self.world.line.add(count))

    @rule(number=numbers)
    def read(self, number: int) -> None:
        self.world.commit(self.world.line.read(number))

    @precondition(may("purged"))
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        self.world.commit(self.world.line.delete(number))

    @rule()
    def read_all(self) -> None:
        self.world.commit(self.world.line.read_all())

    @precondition(may("purged"))
    @rule()
    def purge(self) -> None:
        self.world.line.purge()

    @precondition(may("erased"))
    @rule()
    def erase(self) -> None:
        self.world.commit(self.world.line.erase())

    @precondition(may("put back"))
    @rule()
    def put_a_backup_back(self) -> None:
        self.world.commit(self.world.line.put_back())

    # -- Wake-ups ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.unpublished)
    @rule(number=numbers, twice=st.booleans())
    def publish(self, number: int, twice: bool) -> None:
        self.world.publish(number, keep=twice and "doubled" in self.faults)

    @precondition(may("lost"))
    @precondition(lambda self: self.world.unpublished)
    @rule(number=numbers)
    def never_publish(self, number: int) -> None:
        del self.world.unpublished[number % len(self.world.unpublished)]
        self.world.lost = True

    @precondition(may("writer"))
    @precondition(lambda self: self.world.unpublished)
    @rule(number=numbers)
    def the_writer_dies(self, number: int) -> None:
        """It has not published, and its message is redelivered later."""
        del self.world.unpublished[number % len(self.world.unpublished)]
        self.world.redelivered += 1

    @precondition(may("writer"))
    @precondition(lambda self: self.world.redelivered)
    @rule()
    def redeliver(self) -> None:
        self.world.redelivered -= 1
        self.world.commit(self.world.line.repeat())

    @precondition(lambda self: any(node.queue for node in self.world.nodes))
    @rule(number=nodes)
    def hear(self, number: int) -> None:
        node = self.world.nodes[number]
        if node.queue:
            self.world.call(node.hear)

    @rule()
    def tell_all(self) -> None:
        """A notification is stored, and every node hears of it at once."""
        self.world.commit(self.world.line.add())
        self.world.publish(-1)
        for node in self.world.nodes:
            if node.queue:
                self.world.call(node.hear_last)

    @precondition(may("lost"))
    @precondition(lambda self: any(node.queue for node in self.world.nodes))
    @rule(number=nodes)
    def lose_on_the_way(self, number: int) -> None:
        node = self.world.nodes[number]
        if node.queue:
            node.queue.popleft()
            self.world.lost = True

    # -- The nodes ---------------------------------------------------------------------------------------------------

    @rule(number=nodes)
    def confirm(self, number: int) -> None:
        self.world.call(self.world.nodes[number].confirm)

    @precondition(lambda self: any(node.requests for node in self.world.nodes))
    @rule(number=nodes, which=numbers)
    def answer_from_the_store(self, number: int, which: int) -> None:
        node = self.world.nodes[number]
        if node.requests:
            self.world.call(lambda: node.go_on(which))

    @precondition(may("store"))
    @precondition(lambda self: any(node.requests for node in self.world.nodes))
    @rule(number=nodes)
    def the_store_is_away(self, number: int) -> None:
        # A comparison that fails after a loss of Redis is made up for by the next check.
        self.world.lost = True
        self.world.call(self.world.nodes[number].fail)

    @precondition(may("redis"))
    @rule(number=nodes)
    def lose_redis(self, number: int) -> None:
        self.world.call(self.world.nodes[number].lose_redis)

    @precondition(may("redis"))
    @rule(number=nodes)
    def find_redis(self, number: int) -> None:
        self.world.call(self.world.nodes[number].find_redis)

    @precondition(may("checked"))
    @rule(number=nodes)
    def check(self, number: int) -> None:
        self.world.call(lambda: self.world.check(self.world.nodes[number]))

    @precondition(may("killed"))
    @rule(number=nodes)
    def kill(self, number: int) -> None:
        self.world.kill(number)

    # -- The devices -------------------------------------------------------------------------------------------------

    @rule(number=phones, node=nodes, names_nothing=st.booleans())
    def connect(self, number: int, node: int, names_nothing: bool) -> None:
        phone = self.world.phones[number]
        if phone.link is None:
            if phone.position is None and names_nothing:
                # It resumes from before everything.
                phone.position = Position("", 0)
                phone.rows = {}
            self.world.call(lambda: self.world.connect(phone, self.world.nodes[node]))

    @precondition(lambda self: any(phone.link is not None and phone.link.sent for phone in self.world.phones))
    @rule(number=phones)
    def deliver(self, number: int) -> None:
        self.world.deliver(self.world.phones[number])

    @rule(number=phones)
    def deliver_all(self, number: int) -> None:
        self.world.deliver_all(self.world.phones[number])

    @precondition(may("cut"))
    @rule(number=phones)
    def cut(self, number: int) -> None:
        self.world.call(lambda: self.world.cut(self.world.phones[number]))

    @precondition(may("slow"))
    @rule(number=phones)
    def fill(self, number: int) -> None:
        link = self.world.phones[number].link
        if link is not None:
            link.full = True

    @precondition(may("slow"))
    @rule(number=phones)
    def drain(self, number: int) -> None:
        self.world.call(lambda: self.world.drain(self.world.phones[number]))

    @rule()
    def come_to_rest(self) -> None:
        self.world.settle()


class AnythingLarge(Anything):
    @rule()
    def add_too_much(self) -> None:
        """The rows do not fit into a wake-up: it comes without them."""
        self.world.commit(self.world.line.add(2)._replace(rows=()))


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Most pulls have several frames then.
    monkeypatch.setattr(native, "PAGE_ROWS", 2)
    # The machine replaces it; this puts it back.
    monkeypatch.setattr("services.websocket.hub.log_death", log_death)
    yield


def run(count: int, what: dict[str, Any] | None = None, kind: type[Anything] = Anything, **more: Any) -> None:
    machine = type("Machine", (kind,), what or {})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=count, stateful_step_count=STEPS, suppress_health_check=checks, **more),
    )


@pytest.mark.parametrize(
    "faults", FOCUSES, ids=lambda faults: "all" if faults is FAULTS else " and ".join(sorted(faults)) or "none"
)
def test_devices_show_the_inbox_whatever_happens(faults: frozenset[str]) -> None:
    run(examples(60 if faults is FAULTS else 40), {"faults": faults}, AnythingLarge)


# -- Each rule, turned round once ------------------------------------------------------------------------------------


class ReadsBeforeItSubscribes(Hub):
    async def _subscribe(self, user: Any) -> None:
        user.subscribed = True
        for session in list(user.sessions):
            if session.phase is SessionPhase.NEW:
                self._want(session, "connect")
        await self._subscriptions.subscribe(user.owner)


class TakesNewerForGoodEnough(Hub):
    @staticmethod
    def _unfit(session: Session, position: Position, wakeup: Wakeup) -> Any:
        why = Hub._unfit(session, position, wakeup)
        return None if why == "gap" else why


class IgnoresTheEpoch(Hub):
    @staticmethod
    def _unfit(session: Session, position: Position, wakeup: Wakeup) -> Any:
        return Hub._unfit(session, Position(wakeup.epoch, position.offset), wakeup)


class ThinksEverythingWasSaid(Hub):
    """Ignores a wake-up without frames."""

    def hear(self, owner: Any, wakeup: Wakeup) -> None:
        if wakeup.frames:
            super().hear(owner, wakeup)


class RepeatsItself(Hub):
    """Does not ignore a wake-up at or below the position: it applies it as if it followed."""

    def _tell(self, sessions: list[Session], wakeup: Wakeup, encoded: Any) -> None:
        old = [
            session
            for session in sessions
            if session.phase is SessionPhase.LIVE
            and session.position is not None
            and session.position.epoch == wakeup.epoch
            and session.position.offset >= wakeup.to
            and wakeup.frames
        ]
        for session in old:
            session.device.write(b"\n".join(wakeup.frames))
        super()._tell(sessions, wakeup, encoded)


class ForgetsWhatItHearsDuringARead(Hub):
    def _tell(self, sessions: list[Session], wakeup: Wakeup, encoded: Any) -> None:
        super()._tell([one for one in sessions if one.phase is SessionPhase.LIVE], wakeup, encoded)


class PullsNothingAfterAGap(Hub):
    def _want(self, session: Session, why: Any) -> None:
        if why != "gap":
            super()._want(session, why)


class DropsWhatASlowDeviceCannotTake(Hub):
    def _want(self, session: Session, why: Any) -> None:
        if why == "slow":
            # What it would have been told counts as said.
            session.position = self.told
        else:
            super()._want(session, why)

    def hear(self, owner: Any, wakeup: Wakeup) -> None:
        self.told = Position(wakeup.epoch, wakeup.to)
        super().hear(owner, wakeup)


class ComparesNothingAfterALoss(Hub):
    def restored(self) -> None:
        return


class ComparesOnlyLiveDevicesAfterALoss(Hub):
    def restored(self) -> None:
        self._run(self._catch_up())


class NeverChecks(Hub):
    async def check(self, settle: Any) -> int:
        return 0


class ComparesNoEpochs(Hub):
    async def _compare(self) -> list[Suspect]:
        suspects = await super()._compare()
        return [one for one in suspects if one.before.epoch == one.found.epoch]


class NeverReadsAgain(Hub):
    """Does not pull again if something was heard that the snapshot lacks."""

    def _want(self, session: Session, why: Any) -> None:
        if why != "heard":
            super()._want(session, why)


class PutsThePositionInEveryFrame(Hub):
    """Writes pages of which each names the position, so a device that is cut off never asks for the rest."""

    def _answer(self, session: Session, pull: Any) -> None:
        device = session.device
        first = device.pulled

        def pulled(pull: Any) -> Iterator[bytes]:
            for frame in first(pull):
                end = b'"epoch":"%b","offset":%d,"unread":%d}' % (
                    pull.position.epoch.encode(),
                    pull.position.offset,
                    pull.unread,
                )
                yield frame if frame.endswith(end) else frame[:-1] + b"," + end

        device.pulled = pulled  # type: ignore[method-assign]
        super()._answer(session, pull)
        device.pulled = first  # type: ignore[method-assign]


class ForgetsTombstonesSilently(InboxLine):
    """Removes tombstones, and a device that is behind one of them does not learn it."""

    def purge(self) -> None:
        floor = self.floor
        super().purge()
        self.floor = floor


class KeepsTheEpochOfABackup(InboxLine):
    """Is put back without a fresh epoch, so offsets are given twice."""

    def put_back(self) -> Change | None:
        if len(self.backups) < 2:
            return None
        self.backups.pop()
        self.seq, self.floor, self.rows = self.backups[-1]
        self.rows = dict(self.rows)
        return None


class ContinuesAnyEpoch(InboxLine):
    def _continues(self, since: Position) -> bool:
        return self.floor <= since.offset <= self.seq


class KeepsQuietOfARepeat(InboxLine):
    def repeat(self) -> Change | None:
        return None


class KeepsQuietOfAnErasure(InboxLine):
    def erase(self) -> Change | None:
        super().erase()
        return None


class ReadsRowsBeforeThePosition(InboxLine):
    def answered(self, answer: Any) -> Any:
        if isinstance(answer, list):
            return [replace(pull, position=self.end, unread=self.unread) for pull in answer]
        return answer


class TakesOffsetsBeforeTheCommit(InboxLine):
    """Takes offsets from a sequence and without a lock: of two transactions, the first is committed last."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._late: Notification | None = None

    def add(self, count: int = 1) -> Change:
        if not self.epoch:
            return super().add(count)
        if self._late is None:
            self._ids += 1
            self._late = row(self._ids, self.seq + 1, user_id=self.owner.user_id)
            self.seq += 1
            return super().add(count)
        late, self._late = self._late, None
        self.rows[late.id] = late
        for position in self.looked:
            if position.epoch == self.epoch and position.offset >= late.seq:
                self.looked[position] = {**self.looked[position], late.id: False}
                self.counted[position] += 1
        return Change(self.owner, self.epoch, late.seq - 1, late.seq, self.unread, late.stored_ms, (late,))


class RemembersForTheDevice(Inboxes):
    """Resumes from what was sent to the device and not from what it has applied."""

    def resumes_from(self, phone: Phone) -> Position | None:
        sent = self.last_sent.get(id(phone))
        return phone.position if sent is None or phone.position is None else max(phone.position, sent)

    def cut(self, phone: Phone) -> None:
        if phone.link is not None and phone.link.session is not None:
            position = phone.link.session.position
            if position is not None and phone.position is not None and position.epoch == phone.position.epoch:
                self.last_sent[id(phone)] = position
        super().cut(phone)

    def connect(self, phone: Phone, node: Node) -> None:
        super().connect(phone, node)
        self.last_sent.pop(id(phone), None)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.last_sent: dict[int, Position] = {}


#: Each wrong rule, and what must go wrong so that it loses something.
WRONG: dict[type, set[str]] = {
    ReadsBeforeItSubscribes: set(),
    TakesNewerForGoodEnough: set(),
    PullsNothingAfterAGap: set(),
    ForgetsWhatItHearsDuringARead: set(),
    NeverReadsAgain: set(),
    ReadsRowsBeforeThePosition: set(),
    TakesOffsetsBeforeTheCommit: set(),
    RepeatsItself: {"doubled"},
    IgnoresTheEpoch: {"put back"},
    ThinksEverythingWasSaid: {"erased"},
    DropsWhatASlowDeviceCannotTake: {"slow"},
    ComparesNothingAfterALoss: {"redis"},
    ComparesOnlyLiveDevicesAfterALoss: {"redis"},
    NeverChecks: {"lost"},
    ComparesNoEpochs: {"lost", "erased"},
    PutsThePositionInEveryFrame: {"cut"},
    ForgetsTombstonesSilently: {"cut", "purged"},
    KeepsTheEpochOfABackup: {"cut", "put back"},
    ContinuesAnyEpoch: {"cut", "erased"},
    KeepsQuietOfARepeat: {"writer"},
    KeepsQuietOfAnErasure: {"erased"},
    RemembersForTheDevice: {"cut"},
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_each_rule_is_needed(wrong: type) -> None:
    place = "hub" if issubclass(wrong, Hub) else "line" if issubclass(wrong, InboxLine) else "around"
    with pytest.raises(AssertionError):
        run(
            ENOUGH,
            {place: wrong, "faults": frozenset(WRONG[wrong])},
            phases=[Phase.generate],
            report_multiple_bugs=False,
            derandomize=True,
            print_blob=False,
        )
