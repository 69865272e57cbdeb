import asyncio
import gc

import pytest

from shared.lookup.memory_cache import ENTRY_BYTES, Loaded, TtlCache
from tests.support.fakes.breaker import Clock
from tests.support.waiting import eventually_async

PLENTY = 1_000_000


class Counting:
    """Loads values by counting up. It waits at the gate, and fails on demand. Each value takes ``size_bytes``."""

    def __init__(self, size_bytes: int = 0) -> None:
        self.size_bytes = size_bytes
        self.loads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def __call__(self, key: str) -> Loaded[str]:
        self.loads.append(key)
        await self.gate.wait()
        if self.fails:
            raise OSError(key)
        return Loaded(f"{key}{len(self.loads)}", 60.0, self.size_bytes)


def gated(fails: bool = False) -> tuple[Counting, TtlCache[str]]:
    """Returns a cache whose loads wait until the gate is opened."""
    load = Counting()
    load.gate.clear()
    load.fails = fails
    return load, TtlCache(load, 10, PLENTY)


async def test_a_value_is_loaded_once_until_its_time_is_over() -> None:
    load, clock = Counting(), Clock()
    cache = TtlCache(load, 10, PLENTY, clock)
    assert [await cache.get("a") for _ in range(3)] == ["a1"] * 3
    clock.now += 59.9
    assert await cache.get("a") == "a1"
    clock.now += 0.2
    assert await cache.get("a") == "a2"


async def test_a_stampede_makes_one_load() -> None:
    load, cache = gated()
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(256)]
    await eventually_async(lambda: load.loads)
    load.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"a1"}
    assert load.loads == ["a"]


async def test_one_cancelled_caller_does_not_take_the_load_from_the_others() -> None:
    load, cache = gated()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await eventually_async(lambda: load.loads)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    load.gate.set()
    assert await second == "a1"


async def test_a_failed_load_fails_all_who_wait_and_is_not_kept() -> None:
    load, cache = gated(fails=True)
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(5)]
    await eventually_async(lambda: load.loads)
    load.gate.set()
    assert {type(answer) for answer in await asyncio.gather(*waiting, return_exceptions=True)} == {OSError}
    load.fails = False
    assert await cache.get("a") == "a2"


async def test_a_failed_load_without_waiting_callers_logs_no_warning() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    load, cache = gated(fails=True)
    caller = asyncio.create_task(cache.get("a"))
    await eventually_async(lambda: load.loads)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    load.gate.set()
    await eventually_async(lambda: not cache.loading)
    gc.collect()
    assert complaints == []


async def test_it_never_holds_more_than_it_may_and_drops_the_oldest() -> None:
    load = Counting()
    cache = TtlCache(load, 3, PLENTY)
    for key in "abcd":
        await cache.get(key)
    assert len(cache) == 3
    await cache.get("d")
    assert load.loads == list("abcd")
    await cache.get("a")
    assert load.loads == list("abcda")


async def test_large_values_push_the_oldest_out_long_before_there_are_too_many() -> None:
    load = Counting(size_bytes=1_000_000)
    room = 2 * (load.size_bytes + ENTRY_BYTES)
    cache = TtlCache(load, 10_000, room)
    for key in "abc":
        await cache.get(key)
        assert cache.bytes <= room
    assert len(cache) == 2
    await cache.get("b")
    assert load.loads == list("abc")
    await cache.get("a")
    assert load.loads == list("abca")


async def test_a_value_that_is_loaded_again_counts_once() -> None:
    load, clock = Counting(size_bytes=1_000), Clock()
    cache = TtlCache(load, 10, PLENTY, clock)
    for _ in range(3):
        await cache.get("a")
        clock.now += 61
    assert cache.bytes == load.size_bytes + ENTRY_BYTES


async def test_a_value_larger_than_all_the_room_is_given_and_not_kept() -> None:
    load = Counting(size_bytes=10)
    cache = TtlCache(load, 10, ENTRY_BYTES + 20)
    assert await cache.get("a") == "a1"
    load.size_bytes = 1_000
    assert await cache.get("b") == "b2"
    assert await cache.get("a") == "a1"
    assert len(cache) == 1


async def test_many_small_values_count_with_what_each_entry_takes() -> None:
    load = Counting()
    cache = TtlCache(load, 10_000, 5 * ENTRY_BYTES)
    for number in range(100):
        await cache.get(str(number))
    assert len(cache) == 5


async def test_closing_cancels_the_loads_in_progress() -> None:
    load, cache = gated()
    caller = asyncio.create_task(cache.get("a"))
    await eventually_async(lambda: load.loads)
    await cache.close()
    assert cache.loading == 0
    with pytest.raises(asyncio.CancelledError):
        await caller
