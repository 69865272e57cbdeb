"""Checks when a broker counts as silent: when it sends nothing for one and a half heartbeat intervals."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from shared.broker import connection as module
from shared.broker.connection import silence

HEARTBEAT_S = 0.2
LIMIT_S = HEARTBEAT_S * module.SILENT_INTERVALS


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)


async def ends(watch: asyncio.Task[None], within_s: float) -> bool:
    done, _ = await asyncio.wait((watch,), timeout=within_s)
    return bool(done)


async def test_a_broker_that_sends_nothing_more_is_silent_after_one_and_a_half_intervals() -> None:
    began = time.monotonic()
    await asyncio.wait_for(silence(lambda: 8, HEARTBEAT_S), 5)
    assert time.monotonic() - began >= LIMIT_S


async def test_a_broker_that_goes_on_sending_is_never_silent() -> None:
    heard = itertools.count()
    watch = asyncio.create_task(silence(lambda: next(heard), HEARTBEAT_S))
    assert not await ends(watch, 3 * LIMIT_S)
    watch.cancel()


async def test_after_a_suspension_of_the_process_itself_the_broker_does_not_count_as_silent() -> None:
    heard = 0
    watch = asyncio.create_task(silence(lambda: heard, HEARTBEAT_S))
    await asyncio.sleep(LIMIT_S / 2)
    time.sleep(2 * LIMIT_S)  # noqa: ASYNC251
    heard = 8  # the process reads these bytes as soon as it wakes
    assert not await ends(watch, LIMIT_S / 2)
    watch.cancel()
