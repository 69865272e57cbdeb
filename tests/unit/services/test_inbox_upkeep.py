"""Tests the upkeep of the inboxes with a store that does what a test tells it: what it does when, and whom it wakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from services.websocket.upkeep import Upkeep
from shared.errors import BadSettings, SchemaMismatch, StoreUnavailable
from shared.metrics import Metrics
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import Change, Owner
from tests.support.inbox_rows import change, row
from tests.support.waiting import eventually_async


class FakeStore(Store):
    """Has things to remove, and notes what it is asked."""

    def __init__(self) -> None:
        super().__init__("sqlite:////unused")
        self.expired: list[list[Change]] = []
        self.old: list[list[Change]] = []
        self.asked: list[str] = []
        self.away = False
        self.schema_error: Exception | None = None

    def check_schema(self) -> None:
        if self.schema_error is not None:
            raise self.schema_error

    def expire(self) -> Iterator[list[Change]]:
        yield from self._each("expire", self.expired)

    def retain(self, days: float) -> Iterator[list[Change]]:
        yield from self._each(f"retain {days:g}", self.old)

    def purge(self, older_than_ms: int = 0) -> int:
        self.asked.append("purge")
        return 0

    def _each(self, asked: str, steps: list[list[Change]]) -> Iterator[list[Change]]:
        self.asked.append(asked)
        if self.away:
            raise StoreUnavailable("away")
        while steps:
            yield steps.pop(0)


class FakeWakeUps(WakeUps):
    def __init__(self) -> None:
        super().__init__(Batcher("redis://unused"), Metrics())
        self.woken: list[list[str]] = []

    async def publish(self, changes: Sequence[Change]) -> None:
        self.woken.append([change.owner.user_id for change in changes])


def gone(*users: str) -> list[Change]:
    return [change(row(user_id=user, deleted_ms=1), owner=Owner(user)) for user in users]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def wake_ups() -> FakeWakeUps:
    return FakeWakeUps()


@asynccontextmanager
async def tidying(store: FakeStore, wake_ups: FakeWakeUps, retain_every_s: float = 1_000) -> AsyncIterator[None]:
    """Runs the upkeep in the block, very often."""
    threads = StoreThreads()
    upkeep = Upkeep(store, threads, wake_ups, 30, every_s=0.005, retain_every_s=retain_every_s)
    running = asyncio.create_task(upkeep.run())
    yield
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await threads.close()


async def test_every_device_is_told_of_what_is_removed(store: FakeStore, wake_ups: FakeWakeUps) -> None:
    store.expired, store.old = [gone("u1", "u2"), gone("u3")], [gone("u4")]
    with capture_logs() as logged:
        async with tidying(store, wake_ups):
            await eventually_async(lambda: len(wake_ups.woken) == 3)
            await eventually_async(lambda: "purge" in store.asked)
            await eventually_async(lambda: bool(logged))
    assert wake_ups.woken == [["u1", "u2"], ["u3"], ["u4"]]
    assert [(line["event"], line["removed"]) for line in logged] == [("inboxes_tidied", 4)]


async def test_what_is_expired_is_looked_for_more_often_than_what_is_old(
    store: FakeStore, wake_ups: FakeWakeUps
) -> None:
    async with tidying(store, wake_ups):
        await eventually_async(lambda: store.asked.count("expire") >= 4)
    assert store.asked[:5] == ["expire", "retain 30", "purge", "expire", "expire"]
    assert store.asked.count("purge") == 1

    async with tidying(store, wake_ups, retain_every_s=0):
        await eventually_async(lambda: store.asked.count("purge") >= 3)


async def test_it_goes_on_when_the_database_is_back(store: FakeStore, wake_ups: FakeWakeUps) -> None:
    store.away = True
    with capture_logs() as logged:
        async with tidying(store, wake_ups):
            await eventually_async(lambda: len(store.asked) >= 3)
            store.expired, store.away = [gone("u1")], False
            await eventually_async(lambda: wake_ups.woken == [["u1"]])
            await eventually_async(lambda: logged[-1]["event"] == "inboxes_tidied")
    assert [line["event"] for line in logged] == ["inboxes_not_tidied", "inboxes_tidied"]


async def test_tables_that_do_not_fit_end_it(store: FakeStore, wake_ups: FakeWakeUps) -> None:
    """The database was unavailable when the process started, so nobody has looked at them yet."""
    threads = StoreThreads()
    store.schema_error = StoreUnavailable("away")
    upkeep = asyncio.create_task(Upkeep(store, threads, wake_ups, 30, every_s=0.005).run())
    with capture_logs() as logged:
        await eventually_async(lambda: bool(logged))
        assert not upkeep.done()
        store.schema_error = SchemaMismatch("the database is newer")
        with pytest.raises(BadSettings, match="DATABASE_URL: the database is newer"):
            await upkeep
    assert [(line["event"], line["error"]) for line in logged] == [("inboxes_not_tidied", "away")]
    assert store.asked == []
    await threads.close()


async def test_an_unforeseen_error_ends_it(store: FakeStore, wake_ups: FakeWakeUps) -> None:
    threads = StoreThreads()

    def stumble(days: float) -> Iterator[list[Change]]:
        raise KeyError("unforeseen")

    store.retain = stumble  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await Upkeep(store, threads, wake_ups, 30, every_s=0.005).run()
    await threads.close()
