"""Serves long polls: a request waits until the inbox has changed, for devices whose network allows nothing else.

To the hub a poll is a device that is always read and never written to, so it is answered from one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson

from services.websocket.door import Guest
from services.websocket.parts import Parts
from shared.realtime import frames
from shared.realtime.close_codes import CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Position, Pull

#: Longest wait, seconds: below the time-outs of most proxies.
MOST_WAIT_S = 25.0


class Dialect:
    """Is the dialect of ``/poll``."""

    name = "poll"

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return None


POLL = Dialect()


class SentAway(Exception):
    """Says that the poll cannot be answered now."""

    def __init__(self, code: CloseCode, after_ms: int | None) -> None:
        self.code, self.after_ms = code, after_ms
        super().__init__(code.reason)


class Poll:
    """Is one poll, as a device of the hub."""

    dialect = POLL
    full = False

    def __init__(self) -> None:
        self._answer: asyncio.Future[Pull] = asyncio.get_running_loop().create_future()
        self._latest: Pull | None = None
        self._asked: Position | None = None
        self._waits = False

    async def wait(self, parts: Parts, guest: Guest, position: Position | None, wait_s: float) -> Pull:
        """Returns what has changed since ``position``, at the latest after ``wait_s``. Raises SentAway."""
        self._asked, self._waits = position, wait_s > 0
        session = parts.hub.attach(guest.owner, self, position)
        parts.enter(self, "poll", POLL.name)
        try:
            # The first snapshot may take longer than the wait.
            done, _ = await asyncio.wait([self._answer], timeout=wait_s or None)
            if not done and self._latest is not None:
                return self._latest
            return await self._answer
        finally:
            parts.hub.detach(session)
            parts.leave(self, "poll", POLL.name, 1000)

    def write(self, data: bytes) -> None:
        """Drops the bytes: there are none for a poll."""

    def beat(self) -> None:
        """Does nothing: a poll is short."""

    def look(self, now: float) -> None:
        """Does nothing."""

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        self._latest = pull
        nothing_new = pull.recovered and not pull.rows and pull.position == self._asked
        if not self._answer.done() and not (nothing_new and self._waits):
            self._answer.set_result(pull)
        return iter(())

    def end(self, code: CloseCode, after_ms: int | None = None) -> None:
        if self._answer.done():
            return
        if self._latest is not None:
            self._answer.set_result(self._latest)
        else:
            self._answer.set_exception(SentAway(code, after_ms))


def answer_of(pull: Pull) -> bytes:
    """Returns the JSON of the answer."""
    return orjson.dumps(
        {
            "epoch": pull.position.epoch,
            "offset": pull.position.offset,
            "recovered": pull.recovered,
            "items": [frames.item(row) for row in pull.rows],
            "more": pull.more,
            "unread": pull.unread,
        }
    )
