"""Holds what the hub knows of each device: how far it is, what it waits for, and what was heard meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

from shared.realtime.close_codes import CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Position, Pull

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
        """Closes the connection, and calls ``Hub.detach``. It may be called twice."""


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


class Session:
    """Holds what the hub knows of one device. ``position`` is None before its first load."""

    __slots__ = ("_frames", "_heard", "_missed", "_next", "_snapshot", "device", "phase", "position", "user", "why")

    def __init__(self, user: User, device: Device, position: Position | None) -> None:
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


class User:
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
