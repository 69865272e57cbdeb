"""Lets only one copy of a message at a time be handled in this process; the others wait until it is recorded.

They do not wait for a copy whose forward fails, because it may fail for as long as a queue is missing.
"""

from __future__ import annotations

import asyncio


class Turn:
    """Marks that one handler works on a request_id, or waits for it."""

    __slots__ = ("_aside", "_waiters", "waiting")

    def __init__(self) -> None:
        self.waiting = False
        self._aside = False
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def must_be_awaited(self) -> bool:
        """Tells whether another handler has to wait for this one."""
        return not (self.waiting or self._aside)

    def step_aside(self) -> None:
        """Wakes the handlers that wait for this one, and lets no further one wait."""
        self._aside = True
        self.wake()

    def wake(self) -> None:
        """Wakes the handlers that wait for this one."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def ended(self) -> None:
        """Waits until this handler has left or stepped aside."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class Turns:
    """Tracks which handlers of this process work on which request_id."""

    def __init__(self) -> None:
        self._turns: dict[str, list[Turn]] = {}

    def enter(self, request_id: str) -> Turn:
        turn = Turn()
        self._turns.setdefault(request_id, []).append(turn)
        return turn

    def leave(self, request_id: str, turn: Turn) -> None:
        """Ends this handler's turn and wakes the handlers that wait for it."""
        turns = self._turns[request_id]
        turns.remove(turn)
        if not turns:
            del self._turns[request_id]
        turn.wake()

    async def wait_for_another(self, request_id: str, mine: Turn) -> bool:
        """Waits until another handler of this request_id in this process has left, or stepped aside.

        Returns False at once if there is no other handler to wait for.
        """
        other = next((turn for turn in self._turns[request_id] if turn is not mine and turn.must_be_awaited), None)
        if other is None:
            return False
        mine.waiting = True
        try:
            await other.ended()
        finally:
            mine.waiting = False
        return True
