"""The accepting itself, in the publisher's loop: look up what is known, let through to the broker what is not.

Requests submit from their threads and block once each; what has come in meanwhile is looked up in one round trip.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from gateway.accept.accepted import Key
from gateway.accept.job import Job
from gateway.accept.pipeline import Broker, Kind, Remember, Storing, Unit, Work
from gateway.accept.probe_gate import Pass, ProbeGate
from gateway.accept.verdict import Accepted
from gateway.http.errors import FAULT
from gateway.http.problem import Problem, unavailable

log = structlog.get_logger(__name__)


class Records(Remember, Protocol):
    """What is needed of ``AcceptedRecords``."""

    async def find(self, keys: Sequence[Key]) -> list[str | None]: ...


class Intake:
    """``gate`` stands before the broker."""

    def __init__(self, records: Records, gate: ProbeGate, publish_deadline_s: float) -> None:
        self._records, self._gate = records, gate
        self._publish_deadline_s = publish_deadline_s
        self._jobs: deque[Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False

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
        storing = Storing(broker, self._records, self._publish_deadline_s)
        while True:
            self._woken = False
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
            if jobs:
                await self._round(storing, jobs)
            else:
                await self._wake.wait()
                self._wake.clear()

    async def _round(self, storing: Storing, jobs: list[Job]) -> None:
        try:
            await self._recall(jobs)
            for kind, units in self._admit(jobs).items():
                storing.add(kind, units)
        except Exception:
            log.exception("intake_failed")
            for job in jobs:
                job.decide_rest(FAULT)

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

    def _admit(self, jobs: list[Job]) -> dict[Kind, list[Unit]]:
        """What may go to the broker."""
        admitted: dict[Kind, list[Unit]] = {}
        for job in jobs:
            undecided = list(job.undecided)
            if not undecided:
                continue
            leave = self._gate.admit()
            if not isinstance(leave, Pass):
                why = "the broker does not answer" if leave == "shut" else "too many requests wait for the broker"
                job.decide_rest(unavailable(f"{why}; sending it again is safe"))
                continue
            work = Work(job, leave, len(undecided))
            # A batch stays by itself: a single request must not wait for the confirms of a thousand.
            apart = (id(job),) if len(job.candidates) > 1 else ()
            for index, candidate in undecided:
                admitted.setdefault(candidate.lanes + apart, []).append(Unit(work, index, candidate))
        return admitted
