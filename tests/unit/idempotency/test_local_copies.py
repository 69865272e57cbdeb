"""Copies of one message in one process wait for each other, and never for ever."""

from __future__ import annotations

import asyncio

from shared.idempotency.local_copies import Turns


async def test_a_copy_waits_until_the_other_has_left() -> None:
    turns = Turns()
    first, second = turns.enter("a"), turns.enter("a")
    waiting = asyncio.create_task(turns.wait_for_another("a", second))
    await asyncio.sleep(0)
    assert not waiting.done()
    turns.leave("a", first)
    assert await waiting is True


async def test_nobody_waits_when_he_is_alone_or_the_others_work_on_something_else() -> None:
    turns = Turns()
    mine = turns.enter("a")
    turns.enter("b")
    assert await turns.wait_for_another("a", mine) is False


async def test_two_copies_never_wait_for_each_other() -> None:
    turns = Turns()
    first, second = turns.enter("a"), turns.enter("a")
    waiting = asyncio.create_task(turns.wait_for_another("a", second))
    await asyncio.sleep(0)
    assert await turns.wait_for_another("a", first) is False
    turns.leave("a", first)
    assert await waiting is True
