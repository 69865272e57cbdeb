"""Stores notifications in inboxes. To the worker it is a provider like any other: it accepts what it has committed.

There is no timer: while one transaction commits, the next batch gathers, so batches grow with the load and stay small
without it. A notification that is stored already is accepted, too, and its user is woken once more: the process that
stored it may have died before it told anybody.

A notification that was sent without an answer (the database was silent, or the process died) is never stored twice, so
nothing here is ambiguous: it is simply sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

import orjson
import structlog

from shared.errors import Refusal, Refused, SchemaMismatch, StoreUnavailable, Unavailable
from shared.logs import log_death
from shared.metrics import Metrics
from shared.providers.provider import Message
from shared.providers.urls import DEFAULT_TIMEOUT_S, Builder, ProviderUrl
from shared.realtime.wakeup import WakeUps
from shared.settings.settings import Settings
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import BATCH_BYTES, BATCH_ROWS, Inserted, NewNotification, Rejected

log = structlog.get_logger(__name__)


def builder(inbox: Inbox) -> Builder:
    """Returns the builder for ``inbox://?timeout=10``, which makes ``inbox`` the provider of its channel."""

    def build(url: ProviderUrl, _settings: Settings) -> Inbox:
        url.allow()
        if url.host or url.username or url.path:
            raise url.problem("must be inbox://; the database is DATABASE_URL")
        inbox.name, inbox.timeout_s = url.name, url.timeout_s
        return inbox

    return build


class Inbox:
    """Writes what it is sent into inboxes, in batches, and publishes the wake-ups after each commit."""

    #: Sends that may be in progress at a time: each is only a place in a batch, so as many as a worker can have.
    connections = 4096

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        wake_ups: WakeUps,
        metrics: Metrics,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.name = "inbox"
        self.timeout_s = timeout_s
        self._store = store
        self._threads = threads
        self._wake_ups = wake_ups
        self._rows, self._seconds = metrics.inbox_batch_rows, metrics.inbox_commit_seconds
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._publishing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Checks the tables. Raises SchemaMismatch. A database that is unavailable now is checked when it is there."""
        try:
            await self._threads.read(self._store.check_schema)
        except StoreUnavailable as exc:
            log.warning("store_not_checked", error=str(exc))

    def prepare(self, message: Message) -> NewNotification:
        """Returns the row that is to be stored."""
        content = message.content
        extra = {"link": content.link, "data": content.data, "metadata": message.metadata}
        given = {name: value for name, value in extra.items() if value}
        return NewNotification(
            user_id=message.target,
            request_id=message.request_id,
            client=message.client,
            type=message.type,
            priority=message.priority,
            category=message.category,
            title=content.title,
            body=content.body,
            extra=orjson.dumps(given).decode() if given else "{}",
            created_ms=message.accepted_ms,
            expires_ms=message.expires_ms,
        )

    async def send(self, request: NewNotification) -> str:
        """Returns the id of the row when it is committed, however long ago. Raises Refused."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future(), loop.time() + self.timeout_s)
        self._waiting.append(waiting)
        if self._writer is None:
            # It begins after this turn of the loop, so the first batch has all that is sent in this turn.
            self._writer = loop.create_task(self._write_all())
        return await waiting.stored

    async def close(self) -> None:
        """Waits for the batch that is being written, and for its wake-ups."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._publishing:
            await asyncio.wait(self._publishing)

    async def _write_all(self) -> None:
        while batch := self._take():
            # No error of any kind may leave a sender waiting.
            [error] = await asyncio.gather(self._write(batch), return_exceptions=True)
            if error is not None:
                for one in batch:
                    one.fail(_meaning_of(error))
        self._writer = None

    def _take(self) -> list[_Waiting]:
        """Removes the next batch from what waits, and returns it: at least one, if there is any."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ROWS:
            if self._waiting[0].stored.done():
                # Its sender was cancelled.
                self._waiting.popleft()
                continue
            size += self._waiting[0].size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        """Commits a batch. Raises StoreUnavailable, SchemaMismatch, and TimeoutError if its oldest waited too long."""
        async with asyncio.timeout_at(batch[0].deadline):
            inserted = await self._threads.write(self._insert, [one.row for one in batch])
        self._settle(batch, inserted)

    def _insert(self, rows: Sequence[NewNotification]) -> Inserted:
        self._store.check_schema()
        began = time.monotonic()
        inserted = self._store.insert(rows)
        self._seconds.observe(time.monotonic() - began)
        self._rows.observe(len(rows))
        return inserted

    def _settle(self, batch: Sequence[_Waiting], inserted: Inserted) -> None:
        """Publishes the wake-ups, and tells each sender what became of its notification."""
        if inserted.changes:
            # The next batch need not wait for Redis.
            task = asyncio.create_task(self._wake_ups.publish(inserted.changes))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
            task.add_done_callback(log_death)
        for one, result in zip(batch, inserted.results, strict=True):
            if isinstance(result, Rejected):
                one.fail(Refused(Refusal.PAYLOAD_REJECTED, f"the database refuses it: {result.detail}"))
            elif not one.stored.done():
                one.stored.set_result(str(result.id))


class _Waiting:
    """Holds a notification whose sender waits until it is stored, or until the time ``deadline`` of the loop."""

    __slots__ = ("deadline", "row", "size", "stored")

    def __init__(self, row: NewNotification, stored: asyncio.Future[str], deadline: float) -> None:
        self.row, self.stored, self.deadline = row, stored, deadline
        #: bytes of its texts
        self.size = sum(
            len(text) if text.isascii() else len(text.encode()) for text in (row.title, row.body, row.extra)
        )

    def fail(self, error: BaseException) -> None:
        if not self.stored.done():
            self.stored.set_exception(error)


def _meaning_of(error: BaseException) -> BaseException:
    """Returns what a sender gets for the error of its batch: a bug as it is, for the log."""
    if isinstance(error, TimeoutError):
        return Unavailable("the database has not answered in time")
    if isinstance(error, (StoreUnavailable, SchemaMismatch)):
        return Unavailable(str(error))
    return error
