"""Checks that copies of one message in one process wait for each other, and never indefinitely."""

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


async def test_a_handler_does_not_wait_if_no_other_one_works_on_its_request_id() -> None:
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
