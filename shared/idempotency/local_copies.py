"""Lets only one copy of a message at a time be handled in this process; the others wait until it is recorded."""

from __future__ import annotations

import asyncio


class Turn:
    """Marks that one handler works on a request_id, or waits for it."""

    __slots__ = ("waiters", "waiting")

    def __init__(self) -> None:
        self.waiting = False
        self.waiters: list[asyncio.Future[None]] = []


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
        for waiter in turn.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_another(self, request_id: str, mine: Turn) -> bool:
        """Waits until another handler of this request_id in this process has recorded its result and left.

        Returns False at once if no other handler works on it.
        """
        other = next((turn for turn in self._turns[request_id] if turn is not mine and not turn.waiting), None)
        if other is None:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        other.waiters.append(waiter)
        mine.waiting = True
        try:
            await waiter
        finally:
            mine.waiting = False
        return True
