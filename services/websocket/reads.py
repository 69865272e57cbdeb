"""Reads devices from the store: all that wait in one turn of the loop share a snapshot, a limited number at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, Protocol

import structlog

from services.websocket.session import Phase, Session
from shared.errors import StoreUnavailable
from shared.realtime.close_codes import INTERNAL, OVERLOADED, CloseCode
from shared.store.values import Owner, Position, Pull

log = structlog.get_logger(__name__)

#: Most devices that are read in one snapshot, and most snapshots at a time (the store has two threads that read).
PULLS_AT_ONCE, READS_AT_ONCE = 16, 2
#: Rows of pulls that are written before the loop may do something else.
ROWS_AT_ONCE = 200
#: A device that must come back, because the store or this node is overloaded, waits a random time in this range, ms.
AFTER_MS = (5_000, 15_000)


def after_ms() -> int:
    """Returns after how long a device may come back that this node cannot serve now: another time for each."""
    return random.randint(*AFTER_MS)


class InboxReader(Protocol):
    """Reads the store. Every method raises StoreUnavailable."""

    async def pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[Pull]:
        """Answers all from one snapshot, as ``Store.pull`` does."""

    async def positions(self, owners: Sequence[Owner]) -> dict[Owner, Position]:
        """Returns where the inboxes end; who has none is absent."""

    async def went_back(self, owner: Owner, seen: Position) -> None:
        """Gives an inbox a fresh epoch, because a device has seen an offset that is not there, and wakes everybody."""


class Reads:
    """Owns the sessions that wait to be read, in the order in which they came.

    ``answer`` is given each pull, unless its session has been closed meanwhile; ``run`` starts a task.
    """

    def __init__(
        self,
        store: InboxReader,
        answer: Callable[[Session, Pull], None],
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store, self._answer, self._run = store, answer, run
        self._waiting: dict[Session, None] = {}
        self._reads = 0
        self._scheduled = False

    def want(self, session: Session) -> None:
        """Lets a session wait for its turn."""
        session.phase = Phase.WAITING
        self._waiting[session] = None
        self._schedule()

    def forget(self, session: Session) -> None:
        """Forgets a session that may wait."""
        self._waiting.pop(session, None)

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled and self._reads < READS_AT_ONCE:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
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
            send_away(sessions, OVERLOADED)
            return
        except Exception:
            send_away(sessions, INTERNAL)
            raise
        finally:
            self._reads -= 1
            self._schedule()
        rows = 0
        for session, pull in zip(sessions, pulls, strict=True):
            if session.phase is Phase.READING:
                try:
                    self._answer(session, pull)
                except Exception:
                    # The others must not wait for it.
                    log.exception("device_not_served")
                    send_away([session], INTERNAL)
            rows += len(pull.rows)
            if rows >= ROWS_AT_ONCE:
                rows = 0
                await asyncio.sleep(0)


def send_away(sessions: Sequence[Session], code: CloseCode) -> None:
    """Ends the connections of these sessions; each device is told another time to come back."""
    for session in sessions:
        if session.phase is not Phase.CLOSED:
            session.device.end(code, after_ms())
