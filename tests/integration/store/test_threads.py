"""Tests the threads that call the store from an event loop."""

import asyncio
import threading

import pytest

from shared.errors import StoreUnavailable
from shared.metrics import Metrics
from shared.store.store import Store
from shared.store.threads import READERS, StoreThreads
from shared.store.values import Owner, Stored
from tests.support.stores import new

ANN = Owner("ann")


async def test_writes_keep_their_order_and_reads_run_beside_them(store: Store) -> None:
    threads = StoreThreads()
    batches = [[new("ann", str(n))] for n in range(20)]
    inserted = await asyncio.gather(*(threads.write(store.insert, batch) for batch in batches))
    assert [each.results[0].offset for each in inserted if isinstance(each.results[0], Stored)] == list(range(1, 21))
    assert (await threads.read(store.summary, ANN)).unread == 20
    assert len((await threads.read(store.page, ANN, limit=3)).items) == 3
    await threads.close()


async def test_neither_a_long_write_nor_a_long_read_stops_the_other_reader() -> None:
    threads, release = StoreThreads(), threading.Event()
    writing = asyncio.create_task(threads.write(release.wait))
    reading = [asyncio.create_task(threads.read(release.wait)) for _ in range(READERS - 1)]
    assert await asyncio.wait_for(threads.read(lambda: "read"), timeout=10) == "read"
    release.set()
    assert await asyncio.gather(writing, *reading) == [True] * READERS
    await threads.close()


async def test_an_error_reaches_the_caller_and_an_unavailable_database_is_counted() -> None:
    metrics = Metrics()
    threads = StoreThreads(metrics.store_unavailable)
    store = Store("sqlite:////proc/no/such/file.db")
    with pytest.raises(StoreUnavailable):
        await threads.write(store.insert, [new("ann", "1")])
    with pytest.raises(StoreUnavailable):
        await threads.read(store.summary, ANN)
    with pytest.raises(ZeroDivisionError):
        await threads.read(lambda: 1 / 0)
    assert metrics.registry.get_sample_value("notify_store_unavailable_total") == 2
    await threads.close()
    store.close()


async def test_a_call_that_its_caller_gave_up_is_counted_too() -> None:
    metrics, release = Metrics(), threading.Event()
    threads = StoreThreads(metrics.store_unavailable)

    def late() -> None:
        release.wait()
        raise StoreUnavailable("no answer")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await threads.write(late)
    release.set()
    await threads.close()
    assert metrics.registry.get_sample_value("notify_store_unavailable_total") == 1


async def test_a_write_that_its_caller_gave_up_is_carried_out_all_the_same(store: Store) -> None:
    threads, release = StoreThreads(), threading.Event()

    def late() -> None:
        release.wait()
        store.insert([new("ann", "1")])

    task = asyncio.create_task(threads.write(late))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await threads.close()
    assert store.summary(ANN).unread == 1
