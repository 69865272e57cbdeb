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
the subscriptions were lost and are back            compares all positions, and reads again what is being read
every POSITION_CHECK_S                              compares all positions, which finds every lost wake-up
==================================================  ==================================================================

There is no queue per device: the rows are the queue. The hub does no I/O of its own, so the tests drive this very code
with a store, a Redis and devices that fail in every order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Protocol

import structlog

from services.websocket.reads import InboxReader, Reads, send_away
from services.websocket.session import Device, Dialect, Phase, Session, Suspect, User, Why
from services.websocket.socket_metrics import SocketMetrics
from shared.errors import StoreUnavailable
from shared.logs import log_death
from shared.realtime.close_codes import INTERNAL, OVERLOADED
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Position, Pull

log = structlog.get_logger(__name__)

#: Most devices that may wait for their first load; a further one is told to come back later.
MOST_WAITING = 2000
#: Users in one query when positions are compared.
COMPARED_AT_ONCE = 500
#: Devices of one user that are written to before the loop may do something else.
WRITES_AT_ONCE = 500

#: The phases of a session whose first load has not begun to be written.
_BEFORE_LOAD = (Phase.NEW, Phase.WAITING, Phase.LAGGING, Phase.READING)


class Subscriptions(Protocol):
    """Subscribes the wake-ups of users."""

    async def subscribe(self, owner: Owner) -> None:
        """Returns once it is confirmed; at once while Redis is unavailable (``Hub.restored`` is called after that)."""

    def unsubscribe(self, owner: Owner) -> None: ...


class Hub:
    """Owns the sessions of this node. Call it from the event loop only."""

    def __init__(self, store: InboxReader, subscriptions: Subscriptions, metrics: SocketMetrics) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._metrics = metrics
        self._users: dict[Owner, User] = {}
        self._reads = Reads(store, self._answer, self._run)
        self._first_loads = 0
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
        user = known or User(owner)
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
        self._reads.forget(session)
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

    async def _subscribe(self, user: User) -> None:
        if not user.sessions:
            # They have gone already, and nobody else would unsubscribe it.
            return
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

    async def _tell_many(self, user: User, backlog: list[Wakeup]) -> None:
        """Tells very many devices of one user, and lets the loop do something else in between."""
        try:
            while backlog:
                wakeup, encoded = backlog.pop(0), dict[Dialect, bytes | None]()
                sessions = list(user.sessions)
                for first in range(0, len(sessions), WRITES_AT_ONCE):
                    self._tell(sessions[first : first + WRITES_AT_ONCE], wakeup, encoded)
                    await asyncio.sleep(0)
        finally:
            # After an error, too: the next wake-up does not follow on their positions then, so they are pulled.
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
        self._reads.want(session)

    def _answer(self, session: Session, pull: Pull) -> None:
        if pull.went_back and pull.position.epoch:
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
        try:
            frame = session.take_frame()
        except Exception:
            log.exception("device_not_served")
            send_away([session], INTERNAL)
            return
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
            send_away([session], OVERLOADED)
        else:
            if session.phase is Phase.READING:
                self._want(session, "connect" if session.why == "connect" else "went_back")

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
