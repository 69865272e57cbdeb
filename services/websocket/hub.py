"""Keeps every device of this node up to date with its user's inbox.

For each device the hub knows one position: up to which change the inbox has been written to this connection. A device
that connects, resumes, lags behind, lost a wake-up or got two in the wrong order is served in one way, a *pull*: one
snapshot of the store brings it from its position to the end of the inbox. Only a wake-up that follows exactly on the
position of a device is written to it directly.

==================================================  ==================================================================
what happens                                        what the hub does
==================================================  ==================================================================
a device comes                                      subscribes its user, waits until Redis confirms it, then pulls
a wake-up that follows on a live device's position  writes its frames, if the buffer has room; the position moves on
a wake-up at or below the position, in its epoch    nothing
a wake-up while the device is not live              remembers it, and pulls again unless the snapshot has it
any other wake-up                                   pulls, as soon as the buffer has room
the subscriptions were lost and are back            compares all positions, and reads again whatever is being read
every POSITION_CHECK_S                              compares all positions, which finds every lost wake-up
==================================================  ==================================================================

There is no queue per device: the rows are the queue. The hub does no I/O of its own, so the tests drive this very code
with a store, a Redis and devices that fail in every order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

import structlog

from services.websocket.socket_metrics import SocketMetrics
from shared.errors import StoreUnavailable
from shared.logs import log_death
from shared.realtime.close_codes import INTERNAL, OVERLOADED, CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Position, Pull

log = structlog.get_logger(__name__)

#: Most devices that are read in one snapshot, and most snapshots at a time (the store has two threads that read).
PULLS_AT_ONCE, READS_AT_ONCE = 32, 2
#: Most devices that may wait for their first load; a further one is told to come back later.
MOST_WAITING = 2000
#: A device that must come back, because the store or this node is overloaded, waits a random time in this range, ms.
AFTER_MS = (5_000, 15_000)
#: Users in one query when positions are compared.
COMPARED_AT_ONCE = 500
#: Devices of one user that are written to before the loop may do something else.
WRITES_AT_ONCE = 500
#: Rows of pulls that are written before the loop may do something else.
ROWS_AT_ONCE = 200

#: Why a session is read: it connects, a wake-up did not follow on its position, is of another epoch or has no frames,
#: its buffer was full, a wake-up was heard meanwhile, a comparison found it behind, or the store was put back.
Why = Literal["connect", "gap", "epoch", "bare", "slow", "heard", "check", "restored", "went_back"]


class Dialect(Protocol):
    """Turns wake-ups into what one kind of device reads."""

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        """Returns what to write for a wake-up that has frames, for every device alike. None: each must be pulled."""


class Device(Protocol):
    """Is one connection. Its methods never raise, not even while it is closing, and ``write`` never calls the hub."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def full(self) -> bool:
        """Tells whether so much is unsent that nothing more may be written; ``Hub.drained`` is called afterwards."""

    def write(self, data: bytes) -> None:
        """Sends bytes of its dialect, or drops them if it is closing."""

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        """Returns the frames of a pull; only the last one carries the position."""

    def end(self, code: CloseCode, after_ms: int | None = None) -> None:
        """Closes the connection, and calls ``Hub.detach``."""


class InboxReader(Protocol):
    """Reads the store. Every method raises StoreUnavailable."""

    async def pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[Pull]:
        """Answers all from one snapshot, as ``Store.pull`` does."""

    async def positions(self, owners: Sequence[Owner]) -> dict[Owner, Position]:
        """Returns where the inboxes end; who has none is absent."""

    async def went_back(self, owner: Owner, seen: Position) -> None:
        """Gives an inbox a fresh epoch, because a device has seen an offset that is not there, and wakes everybody."""


class Subscriptions(Protocol):
    """Subscribes the wake-ups of users."""

    async def subscribe(self, owner: Owner) -> None:
        """Returns once it is confirmed; at once while Redis is unavailable (``Hub.restored`` is called after that)."""

    def unsubscribe(self, owner: Owner) -> None: ...


class Phase(IntEnum):
    """Says what a session waits for."""

    #: until its user is subscribed
    NEW = 0
    #: for its turn to be read
    WAITING = 1
    #: for room in its buffer, to be read then
    LAGGING = 2
    #: for the snapshot
    READING = 3
    #: for room in its buffer, for the rest of a pull
    WRITING = 4
    #: for nothing: it shows the inbox as of its position
    LIVE = 5
    CLOSED = 6


#: The phases of a session whose first load has not begun to be written.
_BEFORE_LOAD = (Phase.NEW, Phase.WAITING, Phase.LAGGING, Phase.READING)


class Session:
    """Holds what the hub knows of one device. ``position`` is None before its first load."""

    __slots__ = ("_frames", "_heard", "_missed", "_next", "_snapshot", "device", "phase", "position", "user", "why")

    def __init__(self, user: _User, device: Device, position: Position | None) -> None:
        self.user = user
        self.device = device
        self.position = position
        self.phase = Phase.NEW
        self.why: Why = "connect"
        #: the newest wake-up that was heard of while it was not live
        self._heard: Position | None = None
        #: whether it must be read again, whatever the snapshot has that is being read
        self._missed = False
        #: the frames of a pull that are not written yet, and the position to which they lead
        self._next: bytes | None = None
        self._frames: Iterator[bytes] = iter(())
        self._snapshot: Position | None = None

    @property
    def owner(self) -> Owner:
        return self.user.owner

    def remember(self, heard: Position) -> None:
        """Notes a wake-up that came while the device was not live."""
        if self._heard is None:
            self._heard = heard
        elif self._heard.epoch == heard.epoch:
            self._heard = max(self._heard, heard)
        else:
            # Epochs have no order, so nobody knows which of the two is the present one.
            self._missed = True

    def miss(self) -> None:
        """Notes that wake-ups may have been missed."""
        self._missed = True

    def begin_read(self) -> None:
        """Forgets what was heard before: the snapshot that is taken now has it."""
        self.phase, self._heard, self._missed = Phase.READING, None, False

    def begin_write(self, frames: Iterator[bytes], snapshot: Position) -> None:
        self.phase, self._frames, self._snapshot = Phase.WRITING, frames, snapshot
        self._next = next(frames, None)

    def take_frame(self) -> bytes | None:
        """Returns the next frame of the pull, None after the last one."""
        frame, self._next = self._next, next(self._frames, None)
        return frame

    @property
    def has_frames(self) -> bool:
        return self._next is not None

    def finish_write(self) -> bool:
        """Moves the position to that of the snapshot. Tells whether something was heard that the snapshot lacks."""
        position, heard, missed = self._snapshot, self._heard, self._missed
        self.phase, self.position, self._frames = Phase.LIVE, position, iter(())
        self._snapshot, self._heard, self._missed = None, None, False
        if heard is None or position is None:
            return missed
        return missed or heard.epoch != position.epoch or heard.offset > position.offset

    def close(self) -> None:
        self.phase, self._frames, self._next = Phase.CLOSED, iter(()), None


class _User:
    """Holds the sessions of one user on this node."""

    __slots__ = ("backlog", "owner", "sessions", "subscribed")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.sessions: list[Session] = []
        self.subscribed = False
        #: wake-ups that wait until an earlier one has reached all of very many sessions
        self.backlog: list[Wakeup] | None = None


class Suspect(NamedTuple):
    """Holds a session that was not where its inbox ends, and the two positions that were compared."""

    session: Session
    before: Position
    found: Position

    @property
    def is_behind(self) -> bool:
        """Tells whether it is still not there: a wake-up may have been on its way when the positions were compared."""
        position = self.session.position
        if self.session.phase is not Phase.LIVE or position is None:
            return False
        if position.epoch != self.found.epoch:
            return position == self.before
        if position.offset > self.found.offset:
            # It has gone on since the comparison; if it has not, the store went back.
            return position == self.before
        return position.offset < self.found.offset

    @property
    def lacks(self) -> int:
        """Returns the number of changes that it lacked."""
        same = self.before.epoch == self.found.epoch
        return max(0, self.found.offset - (self.before.offset if same else 0))


class Hub:
    """Owns the sessions of this node. Call it from the event loop only."""

    def __init__(self, store: InboxReader, subscriptions: Subscriptions, metrics: SocketMetrics) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._metrics = metrics
        self._users: dict[Owner, _User] = {}
        #: the sessions that wait to be read, in the order in which they came
        self._waiting: dict[Session, None] = {}
        self._first_loads = 0
        self._reads = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def owners(self) -> list[Owner]:
        """Returns the users that have a device here."""
        return list(self._users)

    @property
    def overloaded(self) -> bool:
        """Tells whether too many devices wait for their first load already."""
        return self._first_loads >= MOST_WAITING

    def sessions_of(self, owner: Owner) -> list[Session]:
        """Returns the sessions of a user on this node, oldest first."""
        user = self._users.get(owner)
        return [] if user is None else list(user.sessions)

    # -- Devices come and go -----------------------------------------------------------------------------------------

    def attach(self, owner: Owner, device: Device, position: Position | None) -> Session:
        """Takes a device; ``position`` is the one that the device names, None if it has nothing yet."""
        known = self._users.get(owner)
        user = known or _User(owner)
        session = Session(user, device, position)
        user.sessions.append(session)
        self._first_loads += 1
        if known is None:
            self._users[owner] = user
            self._run(self._subscribe(user))
        elif user.subscribed:
            self._want(session, "connect")
        return session

    def detach(self, session: Session) -> None:
        """Forgets a device that has gone. It may be called twice."""
        if session.phase is Phase.CLOSED:
            return
        self._first_load_over(session)
        session.close()
        self._waiting.pop(session, None)
        user = session.user
        user.sessions.remove(session)
        if not user.sessions:
            del self._users[user.owner]
            self._subscriptions.unsubscribe(user.owner)

    def drained(self, session: Session) -> None:
        """Goes on with a device whose buffer has room again."""
        if session.phase is Phase.WRITING:
            self._write(session)
        elif session.phase is Phase.LAGGING:
            self._want(session, session.why)

    async def _subscribe(self, user: _User) -> None:
        # A snapshot that is taken before the confirmation may lack a change of which nobody will be told.
        await self._subscriptions.subscribe(user.owner)
        user.subscribed = True
        for session in list(user.sessions):
            if session.phase is Phase.NEW:
                self._want(session, "connect")

    # -- Wake-ups ----------------------------------------------------------------------------------------------------

    def hear(self, owner: Owner, wakeup: Wakeup) -> None:
        """Takes a wake-up."""
        user = self._users.get(owner)
        if user is None:
            return
        if user.backlog is not None:
            user.backlog.append(wakeup)
        elif len(user.sessions) <= WRITES_AT_ONCE:
            self._tell(list(user.sessions), wakeup, {})
        else:
            user.backlog = [wakeup]
            self._run(self._tell_many(user, user.backlog))

    async def _tell_many(self, user: _User, backlog: list[Wakeup]) -> None:
        """Tells very many devices of one user, and lets the loop do something else in between."""
        while backlog:
            wakeup, encoded = backlog.pop(0), dict[Dialect, bytes | None]()
            sessions = list(user.sessions)
            for first in range(0, len(sessions), WRITES_AT_ONCE):
                self._tell(sessions[first : first + WRITES_AT_ONCE], wakeup, encoded)
                await asyncio.sleep(0)
        user.backlog = None

    def _tell(self, sessions: list[Session], wakeup: Wakeup, encoded: dict[Dialect, bytes | None]) -> None:
        """Writes a wake-up to the live sessions on whose position it follows, and pulls those that lack something."""
        heard = Position(wakeup.epoch, wakeup.to)
        live = 0
        for session in sessions:
            position = session.position
            if session.phase is not Phase.LIVE or position is None:
                session.remember(heard)
            elif position.epoch == wakeup.epoch and position.offset >= wakeup.to:
                continue
            elif (why := self._unfit(session, position, wakeup)) is not None:
                self._want(session, why)
            elif (data := self._encoded(session, wakeup, encoded)) is not None:
                session.device.write(data)
                session.position = heard
                live += 1
            else:
                self._want(session, "heard")
        if live:
            self._metrics.wrote(live, wakeup)

    @staticmethod
    def _unfit(session: Session, position: Position, wakeup: Wakeup) -> Why | None:
        """Returns why a wake-up cannot be written to a session as it is; None if it can."""
        if position.epoch != wakeup.epoch:
            return "epoch"
        if not wakeup.frames:
            return "bare"
        if position.offset != wakeup.prev:
            return "gap"
        return "slow" if session.device.full else None

    @staticmethod
    def _encoded(session: Session, wakeup: Wakeup, encoded: dict[Dialect, bytes | None]) -> bytes | None:
        dialect = session.device.dialect
        if dialect not in encoded:
            encoded[dialect] = dialect.live(session.owner, wakeup)
        return encoded[dialect]

    # -- Pulls -------------------------------------------------------------------------------------------------------

    def _want(self, session: Session, why: Why) -> None:
        """Lets a session wait for its turn to be read, or for room in its buffer first."""
        session.why = why
        if session.device.full:
            session.phase = Phase.LAGGING
            return
        session.phase = Phase.WAITING
        self._waiting[session] = None
        self._schedule()

    def _schedule(self) -> None:
        # All sessions that want to be read in one turn of the loop share a snapshot.
        if self._waiting and not self._scheduled and self._reads < READS_AT_ONCE:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start_reads)

    def _start_reads(self) -> None:
        self._scheduled = False
        while self._waiting and self._reads < READS_AT_ONCE:
            some = list(islice(self._waiting, PULLS_AT_ONCE))
            for session in some:
                del self._waiting[session]
                session.begin_read()
            self._reads += 1
            self._run(self._read(some))

    async def _read(self, sessions: list[Session]) -> None:
        try:
            pulls = await self._store.pull([(session.owner, session.position) for session in sessions])
        except StoreUnavailable as exc:
            log.warning("devices_sent_away", devices=len(sessions), error=str(exc))
            self._send_away(sessions, OVERLOADED)
            return
        except Exception:
            self._send_away(sessions, INTERNAL)
            raise
        finally:
            self._reads -= 1
            self._schedule()
        rows = 0
        for session, pull in zip(sessions, pulls, strict=True):
            if session.phase is Phase.READING:
                self._answer(session, pull)
            rows += len(pull.rows)
            if rows >= ROWS_AT_ONCE:
                rows = 0
                await asyncio.sleep(0)

    def _answer(self, session: Session, pull: Pull) -> None:
        if pull.went_back:
            self._run(self._renew(session))
            return
        self._metrics.pulls.labels(session.why).inc()
        self._first_load_over(session)
        frames: Iterator[bytes] = iter(())
        if session.why == "connect":
            self._metrics.resumed.labels(str(pull.recovered).lower()).inc()
            frames = session.device.pulled(pull)
        elif pull.rows or not pull.recovered or pull.position != session.position:
            frames = session.device.pulled(pull)
        session.begin_write(frames, pull.position)
        self._write(session)

    def _write(self, session: Session) -> None:
        """Writes the next frame of a pull, and the others as soon as the loop and the buffer have room."""
        if session.phase is not Phase.WRITING or session.device.full:
            return
        frame = session.take_frame()
        if frame is not None:
            session.device.write(frame)
        if session.has_frames:
            asyncio.get_running_loop().call_soon(self._write, session)
        elif session.finish_write():
            self._want(session, "heard")

    async def _renew(self, session: Session) -> None:
        """Gives the inbox a fresh epoch, because the device has seen more than the store has, and reads again."""
        assert session.position is not None
        try:
            await self._store.went_back(session.owner, session.position)
        except StoreUnavailable as exc:
            log.warning("devices_sent_away", devices=1, error=str(exc))
            self._send_away([session], OVERLOADED)
        else:
            if session.phase is Phase.READING:
                self._want(session, "connect" if session.why == "connect" else "went_back")

    def _send_away(self, sessions: list[Session], code: CloseCode) -> None:
        for session in sessions:
            if session.phase is not Phase.CLOSED:
                session.device.end(code, random.randint(*AFTER_MS))

    def _first_load_over(self, session: Session) -> None:
        if session.why == "connect" and session.phase in _BEFORE_LOAD:
            self._first_loads -= 1

    # -- Comparing positions -----------------------------------------------------------------------------------------

    def restored(self) -> None:
        """Reads or compares everything: no wake-up was heard for a while, and all users are subscribed again."""
        for user in self._users.values():
            for session in user.sessions:
                session.miss()
        self._run(self._catch_up())

    async def check(self, settle: Callable[[], Awaitable[None]]) -> int:
        """Pulls every session that has lost a wake-up; returns their number. Raises StoreUnavailable.

        ``settle`` waits a moment for the wake-ups that are on their way.
        """
        suspects = await self._compare()
        if suspects:
            await settle()
        lost = 0
        for suspect in suspects:
            if suspect.is_behind:
                self._want(suspect.session, "check")
                lost += 1
        self._metrics.wakeups_lost.inc(lost)
        return lost

    async def _catch_up(self) -> None:
        try:
            suspects = await self._compare()
        except StoreUnavailable as exc:
            # The next check of positions does the same.
            log.warning("positions_not_compared", error=str(exc))
            return
        for suspect in suspects:
            if suspect.is_behind:
                self._want(suspect.session, "restored")

    async def _compare(self) -> list[Suspect]:
        """Returns the live sessions that are not at the end of their inbox."""
        suspects: list[Suspect] = []
        owners = self.owners
        for first in range(0, len(owners), COMPARED_AT_ONCE):
            some = owners[first : first + COMPARED_AT_ONCE]
            before = [
                (session, session.position)
                for owner in some
                for session in self.sessions_of(owner)
                if session.phase is Phase.LIVE and session.position is not None
            ]
            ends = await self._store.positions(some)
            compared = (Suspect(session, at, ends.get(session.owner, Position("", 0))) for session, at in before)
            suspects += [suspect for suspect in compared if suspect.is_behind]
        self._metrics.pending.set(sum(suspect.lacks for suspect in suspects))
        return suspects

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_death)
