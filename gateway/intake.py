"""The accepting itself, in the publisher's loop: look up what is known, publish, wait for the confirms, record.

Requests submit from their threads and block once each. What has come in meanwhile goes through together: one round
trip to Redis before and one after, however many requests; publishing is pipelined. Only equals wait for each other: a
lane that is slow to confirm does not hold up another.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from gateway.accepted import Key
from gateway.candidate import Candidate
from gateway.errors import problem_for
from gateway.job import Job
from gateway.probe_gate import Pass, ProbeGate
from gateway.problem import Problem, unavailable
from gateway.verdict import Accepted
from shared.broker.publisher import Publication
from shared.channels import Lane
from shared.clock import now_ms, rfc3339
from shared.errors import PublishFailed, PublishUnknown

log = structlog.get_logger(__name__)

_LEAST_DEADLINE_S = 0.05
_FAULT = Problem(500, "an error of ours; it is in the log")


class Broker(Protocol):
    """What is needed of ``shared.broker.publisher.Publisher``."""

    async def publish_all(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]: ...


class Records(Protocol):
    """What is needed of ``AcceptedRecords``."""

    async def find(self, keys: Sequence[Key]) -> list[str | None]: ...

    async def remember(self, digests: Sequence[tuple[Key, str]]) -> None: ...


class _Work:
    """A job that was let through to the broker."""

    __slots__ = ("job", "leave", "left", "silent")

    def __init__(self, job: Job, leave: Pass, left: int) -> None:
        self.job, self.leave, self.left = job, leave, left
        self.silent = False

    def settle(self, silent: bool) -> None:
        """One of its notifications is settled; the last one tells the gate what was learned."""
        self.left -= 1
        self.silent = self.silent or silent
        if not self.left:
            # A returned or refused message is an answer too: only silence shuts the gate.
            (self.leave.missed if self.silent else self.leave.answered)()


_Unit = tuple[_Work, int, Candidate]


class Intake:
    """``gate`` stands before the broker."""

    def __init__(self, records: Records, gate: ProbeGate, publish_deadline_s: float) -> None:
        self._records, self._gate = records, gate
        self._publish_deadline_s = publish_deadline_s
        self._jobs: deque[Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False
        self._storing: set[asyncio.Task[None]] = set()

    def submit(self, job: Job) -> None:
        """Hand a job over, from any thread; wait for it with ``job.wait``."""
        self._jobs.append(job)
        # One wake-up for all that come before the loop gets round to them.
        if not self._woken and self._loop is not None:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self, broker: Broker) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._woken = False
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
            if jobs:
                await self._round(broker, jobs)
            else:
                await self._wake.wait()
                self._wake.clear()

    async def _round(self, broker: Broker, jobs: list[Job]) -> None:
        try:
            await self._recall(jobs)
            groups = self._admit(jobs)
        except Exception:
            log.exception("intake_failed")
            for job in jobs:
                job.decide_rest(_FAULT)
            return
        for group in groups:
            task = asyncio.get_running_loop().create_task(self._store(broker, group))
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)

    async def _recall(self, jobs: list[Job]) -> None:
        """Settle what was accepted before."""
        asked = [(job, index, candidate) for job in jobs for index, candidate in enumerate(job.candidates)]
        known = await self._records.find([(job.client, candidate.request_id) for job, _, candidate in asked])
        for (job, index, candidate), digest in zip(asked, known, strict=True):
            if digest == candidate.digest:
                job.decide(index, Accepted(candidate.request_id, candidate.channels, replayed=True))
            elif digest is not None:
                why = "was used for another notification"
                job.decide(index, Problem(422, f"this request_id {why}", [("request_id", why)]))

    def _admit(self, jobs: list[Job]) -> list[list[_Unit]]:
        """What may go to the broker, in groups that share their lanes."""
        groups: dict[tuple[Lane | int, ...], list[_Unit]] = {}
        for job in jobs:
            undecided = list(job.undecided)
            if not undecided:
                continue
            leave = self._gate.admit()
            if not isinstance(leave, Pass):
                why = "the broker does not answer" if leave == "shut" else "too many requests wait for the broker"
                job.decide_rest(unavailable(f"{why}; sending it again is safe"))
                continue
            work = _Work(job, leave, len(undecided))
            # A batch stays by itself: a single request must not wait for the confirms of a thousand.
            apart = (id(job),) if len(job.candidates) > 1 else ()
            for index, candidate in undecided:
                groups.setdefault(candidate.lanes + apart, []).append((work, index, candidate))
        return list(groups.values())

    async def _store(self, broker: Broker, group: list[_Unit]) -> None:
        results: list[PublishFailed | None] | None = None
        try:
            accepted_at = rfc3339(now_ms())
            publications = [p for _, _, candidate in group for p in candidate.publications(accepted_at)]
            until = min(work.job.until for work, _, _ in group)
            deadline_s = max(_LEAST_DEADLINE_S, min(self._publish_deadline_s, until - time.monotonic()))
            results = await broker.publish_all(publications, deadline_s)
            await self._settle(group, results)
        except Exception:
            log.exception("intake_failed")
            for work, index, _ in group:
                if work.job.verdicts[index] is None:
                    work.settle(silent=False)
                    work.job.decide(index, _FAULT)

    async def _settle(self, group: list[_Unit], results: list[PublishFailed | None]) -> None:
        answers = iter(results)
        confirmed: list[_Unit] = []
        for unit in group:
            work, index, candidate = unit
            failures = [failure for _ in candidate.parts if (failure := next(answers)) is not None]
            if failures:
                work.settle(silent=any(isinstance(failure, PublishUnknown) for failure in failures))
                work.job.decide(index, problem_for(failures[0]))
            else:
                confirmed.append(unit)
        # Only now: a record written before the confirm would answer 202 for something that was never stored.
        if confirmed:
            await self._records.remember([((work.job.client, c.request_id), c.digest) for work, _, c in confirmed])
        for work, index, candidate in confirmed:
            work.settle(silent=False)
            work.job.decide(index, Accepted(candidate.request_id, candidate.channels))
