"""Publishes rows of an outbox and marks them.

The relay claims a batch, publishes it, waits for the confirms, and marks the rows in the transaction that claimed them.
If it dies in between, the rows are published again by the next one under the same request_id, and delivered once.

When nothing is left it says so in ``relay_state`` and looks **once more**: who committed before it said so has not
notified anybody. Then it waits for a notification, or for POLL_S: a transaction that inserted its rows before and
commits after the second look is found by that.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import structlog

from services.relay.relay_metrics import RelayMetrics
from services.relay.rows import candidate_of, error_of
from shared import clock
from shared.accept.candidate import Candidate
from shared.backoff import delay_s
from shared.broker.publisher import Publisher
from shared.clock import rfc3339
from shared.errors import InvalidEnvelope, StoreUnavailable
from shared.message.envelope import MAX_BODY_BYTES
from shared.settings.groups.outbox import Wake
from shared.store.outbox import Bell, Outbox, OutboxRow

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: rows of one transaction
BATCH_ROWS = 500
#: How long a relay that is not notified waits, seconds; and one that never is (``OUTBOX_WAKE=poll``).
POLL_S, BUSY_POLL_S = 1.0, 0.1
#: How long a published row stays, seconds, and how often they are removed.
KEPT_S, SWEEP_EVERY_S = 86_400.0, 300.0
#: How often the age of the oldest row is read, seconds.
MEASURED_EVERY_S = 5.0
#: The waits after an error double from the first to the second, seconds.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0


class Relay:
    """Moves rows from one outbox to RabbitMQ until ``stop``. ``client`` is the sender of all of them."""

    def __init__(
        self,
        outbox: Outbox,
        bell: Bell,
        publisher: Publisher,
        metrics: RelayMetrics,
        *,
        wake: Wake = "flag",
        client: str = "",
        phone_region: str | None = None,
    ) -> None:
        self._outbox, self._bell = outbox, bell
        self._publisher, self._metrics = publisher, metrics
        self._wake, self._client, self._phone_region = wake, client, phone_region
        self._stopping = asyncio.Event()
        self._threads = ThreadPoolExecutor(1, "outbox")
        self._bell_thread = ThreadPoolExecutor(1, "outbox-bell")
        self._errors_in_a_row = 0
        self._sweep_at = self._measure_at = 0.0

    @property
    def database_up(self) -> bool:
        return self._errors_in_a_row == 0

    def stop(self) -> None:
        """Lets ``run`` return after the batch in progress."""
        self._stopping.set()

    async def check(self) -> None:
        """Raises BadSettings if the outbox is not installed. A database that is away now is checked by its use."""
        try:
            await self._call(self._outbox.check)
        except StoreUnavailable as exc:
            log.warning("outbox_not_checked", error=str(exc))

    async def run(self) -> None:
        """Publishes until ``stop``. It goes on while the database or RabbitMQ is unavailable."""
        try:
            while not self._stopping.is_set():
                try:
                    await self._round()
                except StoreUnavailable as exc:
                    await self._back_off(exc)
        finally:
            await self._close()

    # -- One round: everything that is there, then a wait ------------------------------------------------------------

    async def _round(self) -> None:
        moved = await self._drain()
        await self._tidy()
        self._errors_in_a_row = 0
        if moved or self._stopping.is_set():
            return
        if self._wake == "poll":
            await self._pause(BUSY_POLL_S)
            return
        await self._call(self._outbox.set_asleep, True)
        if not await self._drain():
            await self._wait_for_bell()
        if self._wake == "flag":
            await self._call(self._outbox.set_asleep, False)

    async def _drain(self) -> int:
        """Goes once through all rows that are not marked. Returns how many were marked."""
        moved = after = 0
        while not self._stopping.is_set():
            rows = await self._call(self._outbox.claim, after, BATCH_ROWS, MAX_BODY_BYTES)
            if not rows:
                break
            # What is not confirmed now must not keep the rows behind it waiting; the next round comes back to it.
            after = rows[-1].id
            moved += await self._move(rows)
        return moved

    async def _move(self, rows: Sequence[OutboxRow]) -> int:
        candidates, failed = self._considered(rows)
        published = await self._publish(candidates)
        await self._call(self._outbox.settle, published, failed)
        self._metrics.published.inc(len(published))
        self._metrics.failed.inc(len(failed))
        self._metrics.unconfirmed.inc(len(candidates) - len(published))
        return len(published) + len(failed)

    def _considered(self, rows: Sequence[OutboxRow]) -> tuple[list[tuple[OutboxRow, Candidate]], dict[int, str]]:
        """Returns the notifications of these rows, and what is wrong with the others."""
        candidates: list[tuple[OutboxRow, Candidate]] = []
        failed: dict[int, str] = {}
        for row in rows:
            try:
                candidates.append((row, candidate_of(row, self._phone_region)))
            except InvalidEnvelope as invalid:
                failed[row.id] = error_of(row, invalid)
                log.warning("outbox_row_invalid", id=row.id, request_id=row.request_id, error=failed[row.id])
        return candidates, failed

    async def _publish(self, candidates: Sequence[tuple[OutboxRow, Candidate]]) -> list[int]:
        """Publishes these rows. Returns the ids of those that RabbitMQ has confirmed for all their channels."""
        now_ms = clock.now_ms()
        publications, owners = [], []
        for row, candidate in candidates:
            # The life of a notification begins when its row was made; the clock of the database may be ahead.
            messages = candidate.publications(rfc3339(min(row.created_ms, now_ms)), self._client)
            publications += messages
            owners += [row.id] * len(messages)
        if not publications:
            return []
        fates = await self._publisher.publish_all(publications)
        failures = {owner: fate for owner, fate in zip(owners, fates, strict=True) if fate is not None}
        if failures:
            log.warning("outbox_rows_not_confirmed", rows=len(failures), error=str(next(iter(failures.values()))))
        return [row.id for row, _ in candidates if row.id not in failures]

    # -- Between rounds ----------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + MEASURED_EVERY_S
            self._metrics.oldest_s.set(await self._call(self._outbox.oldest_s))
        if time.monotonic() < self._sweep_at:
            return
        removed = 0
        while (count := await self._call(self._outbox.sweep, KEPT_S)) and not self._stopping.is_set():
            removed += count
        self._sweep_at = time.monotonic() + SWEEP_EVERY_S
        if removed:
            log.info("outbox_swept", rows=removed)

    async def _wait_for_bell(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._bell_thread, self._bell.wait, POLL_S)
        except StoreUnavailable as exc:
            # Without it, rows are found by looking for them.
            self._metrics.errors.inc()
            log.warning("outbox_not_listening", error=str(exc))
            await self._pause(POLL_S)

    async def _back_off(self, error: StoreUnavailable) -> None:
        self._metrics.errors.inc()
        self._errors_in_a_row += 1
        wait_s = delay_s(
            self._errors_in_a_row, base_s=FIRST_WAIT_S, cap_s=LONGEST_WAIT_S, min_s=FIRST_WAIT_S, draw=random.random()
        )
        log.warning("outbox_unavailable", error=str(error), again_in_s=round(wait_s, 1))
        await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    async def _close(self) -> None:
        await self._call(self._outbox.close)
        for pool in (self._threads, self._bell_thread):
            await asyncio.to_thread(pool.shutdown)
        self._bell.close()


def health_of(relay: Relay, publisher: Publisher) -> dict[str, Any]:
    """Returns the document of ``/health``: ``unhealthy`` without RabbitMQ, ``degraded`` without the database."""
    broker = publisher.state
    up = relay.database_up and broker == "up"
    return {
        "status": "unhealthy" if broker == "down" else "healthy" if up else "degraded",
        "broker": broker,
        "outbox": "up" if relay.database_up else "down",
    }
