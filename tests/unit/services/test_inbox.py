"""Tests the provider of the websocket channel with a store that does what a test tells it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.websocket.inbox import Inbox, builder
from shared.errors import BadSettings, Refusal, Refused, SchemaMismatch, StoreUnavailable, Unavailable
from shared.metrics import Metrics
from shared.providers.provider import Content, Message
from shared.providers.urls import providers_for
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import (
    BATCH_BYTES,
    BATCH_ROWS,
    Change,
    Inserted,
    NewNotification,
    Rejected,
    Repeated,
    Stored,
)
from tests.support.messages import built, message, refusing, send, settings
from tests.support.waiting import eventually_async


class FakeStore(Store):
    """Stores nothing; answers each batch as ``answer`` does, when ``gate`` is open."""

    def __init__(self) -> None:
        super().__init__("sqlite:////unused")
        self.batches: list[list[NewNotification]] = []
        self.errors: list[Exception] = []
        self.schema_errors: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.rejected: set[str] = set()
        self.repeated: set[str] = set()

    def check_schema(self) -> None:
        if self.schema_errors:
            raise self.schema_errors.pop(0)

    def insert(self, batch: Sequence[NewNotification]) -> Inserted:
        self.batches.append(list(batch))
        assert self.gate.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        results = tuple(self._result(n, one.request_id) for n, one in enumerate(batch, 1))
        users = dict.fromkeys(one.owner for one in batch if one.request_id not in self.rejected)
        return Inserted(results, tuple(Change(owner, "e", 0, 1, 1, 0) for owner in users))

    def _result(self, number: int, request_id: str) -> Stored | Repeated | Rejected:
        if request_id in self.rejected:
            return Rejected("DataError (22021)")
        return Repeated(number) if request_id in self.repeated else Stored(number, number)


class FakeWakeUps(WakeUps):
    """Records whom it was told to wake."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(Batcher("redis://unused"), metrics)
        self.woken: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.bug: Exception | None = None

    async def publish(self, changes: Sequence[Change]) -> None:
        await self.gate.wait()
        if self.bug is not None:
            raise self.bug
        self.woken.append([change.owner.user_id for change in changes])


class World:
    """Holds an inbox among fakes."""

    def __init__(self, threads: StoreThreads, timeout_s: float = 5) -> None:
        self.metrics = Metrics()
        self.store = FakeStore()
        self.wake_ups = FakeWakeUps(self.metrics)
        self.inbox = Inbox(self.store, threads, self.wake_ups, self.metrics, timeout_s)

    def start(self, *request_ids: str, user: str = "u1", body: str = "b") -> list[asyncio.Task[str]]:
        """Begins to send these notifications in one turn of the loop."""
        return [asyncio.create_task(send(self.inbox, message(user, each, body=body))) for each in request_ids]

    async def sent(self, *request_ids: str) -> list[str]:
        return await asyncio.gather(*self.start(*request_ids))

    def stored(self) -> list[list[str]]:
        return [[one.request_id for one in batch] for batch in self.store.batches]


@pytest.fixture
async def threads() -> AsyncIterator[StoreThreads]:
    threads = StoreThreads()
    yield threads
    await threads.close()


@pytest.fixture
def world(threads: StoreThreads) -> World:
    return World(threads)


# -- The row ---------------------------------------------------------------------------------------------------------


def row_of(world: World, **fields: object) -> NewNotification:
    wanted = Message("r-1", "u1", Content("the body", title="the title"), "high", client="shop", accepted_ms=1_000)
    return world.inbox.prepare(replace(wanted, **fields))  # type: ignore[arg-type]


def test_a_row_has_what_its_user_is_to_see(world: World) -> None:
    assert row_of(world, type="warning", category="billing", expires_ms=9_000) == NewNotification(
        user_id="u1",
        request_id="r-1",
        client="shop",
        type="warning",
        priority="high",
        category="billing",
        title="the title",
        body="the body",
        extra="{}",
        created_ms=1_000,
        expires_ms=9_000,
    )


def test_link_data_and_metadata_are_kept_as_json(world: World) -> None:
    content = Content("b", title="t", link="https://example.com", data={"order": 7})
    assert (
        row_of(world, content=content, metadata={"a": ["ü"]}).extra
        == '{"link":"https://example.com","data":{"order":7},"metadata":{"a":["ü"]}}'
    )


# -- Batches ---------------------------------------------------------------------------------------------------------


async def test_what_is_sent_in_one_turn_is_one_transaction(world: World) -> None:
    assert await world.sent("a", "b", "c") == ["1", "2", "3"]
    assert world.stored() == [["a", "b", "c"]]
    assert world.metrics.registry.get_sample_value("notify_inbox_batch_rows_sum") == 3
    assert world.metrics.registry.get_sample_value("notify_inbox_commit_seconds_count") == 1


async def test_while_one_transaction_commits_the_next_batch_gathers(world: World) -> None:
    world.store.gate.clear()
    sends = world.start("a")
    await eventually_async(lambda: len(world.store.batches) == 1)
    for each in ("b", "c", "d"):
        sends += world.start(each)
        await asyncio.sleep(0)
    world.store.gate.set()
    await asyncio.gather(*sends)
    assert world.stored() == [["a"], ["b", "c", "d"]]


async def test_a_batch_has_at_most_so_many_rows(world: World) -> None:
    await world.sent(*(str(n) for n in range(2 * BATCH_ROWS + 1)))
    assert [len(batch) for batch in world.stored()] == [BATCH_ROWS, BATCH_ROWS, 1]


@pytest.mark.parametrize(("body", "number"), [("x" * 1024, 3), ("ü" * 512, 3), ("x" * BATCH_BYTES, 1)])
async def test_a_batch_has_at_most_so_many_bytes(
    world: World, body: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Title and an empty extra take seven bytes.
    monkeypatch.setattr("services.websocket.inbox.BATCH_BYTES", 3 * (1024 + 7))
    await asyncio.gather(*world.start("a", "b", "c", "d", body=body))
    assert len(world.stored()[0]) == number
    assert sum(map(len, world.stored())) == 4


async def test_the_next_send_after_a_pause_is_written_too(world: World) -> None:
    await world.sent("a")
    await world.sent("b")
    assert world.stored() == [["a"], ["b"]]


async def test_what_nobody_waits_for_any_more_is_not_stored(world: World) -> None:
    world.store.gate.clear()
    first = world.start("a")
    await eventually_async(lambda: len(world.store.batches) == 1)
    [cancelled, kept] = world.start("b", "c")
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    world.store.gate.set()
    assert await asyncio.gather(*first, kept) == ["1", "1"]
    assert world.stored() == [["a"], ["c"]]


# -- Answers ---------------------------------------------------------------------------------------------------------


async def test_what_was_stored_before_is_sent_and_wakes_its_user(world: World) -> None:
    world.store.repeated = {"a"}
    assert await world.sent("a") == ["1"]
    await world.inbox.close()
    assert world.wake_ups.woken == [["u1"]]


async def test_only_the_culprit_is_refused(world: World) -> None:
    world.store.rejected = {"b"}
    first, culprit, last = world.start("a", "b", "c")
    with refusing(Refusal.PAYLOAD_REJECTED) as caught:
        await culprit
    assert str(caught.value) == "the database refuses it: DataError (22021)"
    assert [await first, await last] == ["1", "3"]


async def test_a_store_that_is_unavailable_fails_the_whole_batch_and_nothing_else(world: World) -> None:
    world.store.errors = [StoreUnavailable("the database is busy")]
    failed = await asyncio.gather(*world.start("a", "b"), return_exceptions=True)
    assert [(type(one), str(one)) for one in failed] == [(Unavailable, "the database is busy")] * 2
    assert not any(one.ambiguous for one in failed if isinstance(one, Refused))
    assert await world.sent("a", "b") == ["1", "2"]
    assert world.metrics.registry.get_sample_value("notify_inbox_batch_rows_sum") == 2


async def test_a_bug_leaves_nobody_waiting(world: World) -> None:
    world.store.errors = [KeyError("bug")]
    failed = await asyncio.gather(*world.start("a", "b"), return_exceptions=True)
    assert [type(one) for one in failed] == [KeyError, KeyError]
    assert await world.sent("c") == ["1"]


async def test_a_store_that_is_silent_is_given_up_when_the_oldest_has_no_more_time(threads: StoreThreads) -> None:
    world = World(threads, timeout_s=0.2)
    world.store.gate.clear()
    first = world.start("a")
    await eventually_async(lambda: len(world.store.batches) == 1)
    failed = await asyncio.gather(*first, *world.start("b"), return_exceptions=True)
    assert [str(one) for one in failed] == ["the database has not answered in time"] * 2
    world.store.gate.set()
    assert await world.sent("c") == ["1"]


# -- Wake-ups --------------------------------------------------------------------------------------------------------


async def test_each_inbox_of_a_batch_is_woken_once(world: World) -> None:
    await asyncio.gather(*world.start("a", "b"), *world.start("c", user="u2"))
    await world.inbox.close()
    assert world.wake_ups.woken == [["u1", "u2"]]


async def test_nobody_is_woken_for_what_was_not_stored(world: World) -> None:
    world.store.rejected = {"a"}
    world.store.errors = [StoreUnavailable("busy")]
    await asyncio.gather(*world.start("a"), return_exceptions=True)
    await asyncio.gather(*world.start("a"), return_exceptions=True)
    await world.inbox.close()
    assert world.wake_ups.woken == []


async def test_a_redis_that_does_not_answer_keeps_no_batch_waiting(world: World) -> None:
    world.wake_ups.gate.clear()
    assert await world.sent("a") == ["1"]
    assert await world.sent("b") == ["1"]
    world.wake_ups.gate.set()
    await world.inbox.close()
    assert world.wake_ups.woken == [["u1"], ["u1"]]


async def test_wake_ups_that_meet_a_bug_are_in_the_log_and_change_nothing(world: World) -> None:
    world.wake_ups.bug = KeyError("bug")
    with capture_logs() as logged:
        assert await world.sent("a") == ["1"]
        await world.inbox.close()
    assert [(line["event"], line["exc_info"]) for line in logged] == [("task_died", world.wake_ups.bug)]
    world.wake_ups.bug = None
    assert await world.sent("b") == ["1"]


async def test_closing_waits_for_the_batch_and_its_wake_ups(world: World) -> None:
    world.store.gate.clear()
    [one] = world.start("a")
    await eventually_async(lambda: len(world.store.batches) == 1)
    closing = asyncio.create_task(world.inbox.close())
    await asyncio.sleep(0)
    assert not closing.done()
    world.store.gate.set()
    await closing
    assert (await one, world.wake_ups.woken) == ("1", [["u1"]])


# -- The tables ------------------------------------------------------------------------------------------------------


async def test_other_tables_end_the_process_at_its_start(world: World) -> None:
    world.store.schema_errors = [SchemaMismatch("the database is older")]
    with pytest.raises(BadSettings, match="DATABASE_URL: the database is older"):
        await world.inbox.open()


async def test_a_database_that_was_unavailable_is_checked_before_the_first_write(world: World) -> None:
    world.store.schema_errors = [StoreUnavailable("no answer"), SchemaMismatch("the database is newer")]
    with capture_logs() as logged:
        await world.inbox.open()
    assert [(line["event"], line["error"]) for line in logged] == [("store_not_checked", "no answer")]

    [failed] = await asyncio.gather(*world.start("a"), return_exceptions=True)
    assert (type(failed), str(failed)) == (Unavailable, "DATABASE_URL: the database is newer")
    assert world.store.batches == []
    assert await world.sent("a") == ["1"]


# -- Its URL ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def build(world: World) -> Callable[[str], Inbox]:
    return lambda url: built(builder(world.inbox), url)


def test_its_url_sets_the_timeout(build: Callable[[str], Inbox]) -> None:
    assert (build("inbox://").name, build("inbox://").timeout_s) == ("inbox", 10)
    assert build("inbox://?timeout=3").timeout_s == 3


@pytest.mark.parametrize("url", ["inbox://host", "inbox://me@", "inbox:///file", "inbox://?tls=1"])
def test_its_url_has_nothing_else(build: Callable[[str], Inbox], url: str) -> None:
    with pytest.raises(BadSettings):
        build(url)


@pytest.mark.parametrize("env", ["development", "production"])
def test_it_is_the_provider_of_its_channel_without_any_setting(world: World, env: str) -> None:
    with capture_logs() as logged:
        providers = providers_for("websocket", {"inbox": builder(world.inbox)}, settings(notify_env=env))
    assert providers == (world.inbox,)
    assert logged == []
