"""Copies of one message within this process: one works, the others wait until it has recorded."""

from __future__ import annotations

import asyncio


class Turn:
    """One handler's presence at a request_id."""

    __slots__ = ("waiters", "waiting")

    def __init__(self) -> None:
        self.waiting = False
        self.waiters: list[asyncio.Future[None]] = []


class Turns:
    """Who in this process is at which request_id."""

    def __init__(self) -> None:
        self._turns: dict[str, list[Turn]] = {}

    def enter(self, request_id: str) -> Turn:
        turn = Turn()
        self._turns.setdefault(request_id, []).append(turn)
        return turn

    def leave(self, request_id: str, turn: Turn) -> None:
        """Be gone; whoever waits for this handler goes on."""
        turns = self._turns[request_id]
        turns.remove(turn)
        if not turns:
            del self._turns[request_id]
        for waiter in turn.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_another(self, request_id: str, mine: Turn) -> bool:
        """Wait until another handler that is at work on it here has recorded and left; False if there is none."""
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
