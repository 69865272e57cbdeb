"""Publishing what was let through, and recording what was confirmed. Runs in the publisher's loop.

Of each kind (the same lanes) at most four groups are under way; what comes meanwhile gathers for the next. So the price
of a group is shared by more the busier it gets, and a lane that is slow to confirm holds up no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from gateway.accept.accepted import Key
from gateway.accept.candidate import Candidate
from gateway.accept.job import Job
from gateway.accept.probe_gate import Pass
from gateway.accept.verdict import Accepted
from gateway.http.errors import FAULT, problem_for
from shared.broker.publisher import Publication
from shared.clock import now_ms, rfc3339
from shared.errors import PublishFailed, PublishUnknown
from shared.message.channels import Lane

log = structlog.get_logger(__name__)

#: measured: with 2 a busy gateway waited for confirms half of its time; more than 4 brought nothing
MOST_UNDER_WAY = 4
_LEAST_DEADLINE_S = 0.05

#: what may travel together: its lanes, and for a batch the batch itself
Kind = tuple[Lane | int, ...]


class Broker(Protocol):
    """What is needed of ``shared.broker.publisher.Publisher``."""

    async def publish_all(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]: ...


class Remember(Protocol):
    """What is needed of ``AcceptedRecords``."""

    async def remember(self, digests: Sequence[tuple[Key, str]]) -> None: ...


class Work:
    """A job that was let through to the broker; ``left`` of its notifications are not settled yet."""

    __slots__ = ("_leave", "_left", "_silent", "job")

    def __init__(self, job: Job, leave: Pass, left: int) -> None:
        self.job = job
        self._leave, self._left = leave, left
        self._silent = False

    def settle(self, *, silent: bool) -> None:
        """One of its notifications is settled; the last one tells the gate what was learned."""
        self._left -= 1
        self._silent = self._silent or silent
        if not self._left:
            # A returned or refused message is an answer too: only silence shuts the gate.
            learned: Callable[[], None] = self._leave.missed if self._silent else self._leave.answered
            learned()


@dataclass(frozen=True, slots=True)
class Unit:
    """One notification of a job, by its index there."""

    work: Work
    index: int
    candidate: Candidate


@dataclass(slots=True)
class _Queue:
    waiting: list[Unit] = field(default_factory=list)
    under_way: int = 0


class Storing:
    """Every unit is settled and decided, whatever happens."""

    def __init__(self, broker: Broker, records: Remember, publish_deadline_s: float) -> None:
        self._broker, self._records = broker, records
        self._publish_deadline_s = publish_deadline_s
        self._queues: dict[Kind, _Queue] = {}
        # The loop itself keeps only weak references.
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, kind: Kind, units: list[Unit]) -> None:
        """Publish them as soon as their kind's turn comes."""
        queue = self._queues.setdefault(kind, _Queue())
        queue.waiting += units
        self._start(kind, queue)

    def _start(self, kind: Kind, queue: _Queue) -> None:
        if queue.waiting and queue.under_way < MOST_UNDER_WAY:
            group, queue.waiting = queue.waiting, []
            queue.under_way += 1
            task = asyncio.get_running_loop().create_task(self._store(group))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, kind, queue))

    def _ended(self, kind: Kind, queue: _Queue, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        queue.under_way -= 1
        if task.cancelled():
            return
        self._start(kind, queue)
        if not queue.under_way:
            del self._queues[kind]

    async def _store(self, group: list[Unit]) -> None:
        try:
            accepted_at = rfc3339(now_ms())
            publications = [p for unit in group for p in unit.candidate.publications(accepted_at)]
            results = await self._broker.publish_all(publications, self._deadline_s(group))
            await self._settle(group, results)
        except Exception:
            log.exception("storing_failed")
            for unit in group:
                if unit.work.job.verdicts[unit.index] is None:
                    unit.work.settle(silent=False)
                    unit.work.job.decide(unit.index, FAULT)

    def _deadline_s(self, group: list[Unit]) -> float:
        # The last one's: who came earlier has given up by then, and must not cut short the others.
        until = max(unit.work.job.until for unit in group)
        return max(_LEAST_DEADLINE_S, min(self._publish_deadline_s, until - time.monotonic()))

    async def _settle(self, group: list[Unit], results: list[PublishFailed | None]) -> None:
        answers = iter(results)
        confirmed: list[Unit] = []
        for unit in group:
            failures = [failure for _ in unit.candidate.parts if (failure := next(answers)) is not None]
            if failures:
                unit.work.settle(silent=any(isinstance(failure, PublishUnknown) for failure in failures))
                unit.work.job.decide(unit.index, problem_for(failures[0]))
            else:
                confirmed.append(unit)
        # Only now: a record written before the confirm would answer 202 for something that was never stored.
        if confirmed:
            await self._records.remember(
                [((u.work.job.client, u.candidate.request_id), u.candidate.digest) for u in confirmed]
            )
        for unit in confirmed:
            unit.work.settle(silent=False)
            unit.work.job.decide(unit.index, Accepted(unit.candidate.request_id, unit.candidate.channels))
