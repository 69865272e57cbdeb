"""Accepting notifications, as the routes see it: documents in, a verdict each, within five seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from gateway.accept.candidate import Candidate, candidate_from
from gateway.accept.in_flight import InFlight
from gateway.accept.job import Job
from gateway.accept.verdict import Accepted, Verdict
from gateway.http.problem import RETRY_LANE_FULL_S, RETRY_SOON_S, Problem, unavailable
from shared.message.channels import Lane

#: the gateway answers within this, whatever the broker does, seconds
ANSWER_WITHIN_S = 5.0
#: kept of it for what follows a publish (the record in Redis), and for the answer itself, seconds
_RECORD_S, _ANSWER_S = 1.0, 0.2


class Intake(Protocol):
    """What is needed of ``gateway.accept.intake.Intake``."""

    def submit(self, job: Job) -> None: ...


class Depths(Protocol):
    """What is needed of ``shared.broker.queue_depth.Sampler``."""

    def ready(self, lane: Lane) -> int | None: ...


class Counts(Protocol):
    """What is needed of ``AcceptedCounts``."""

    def add(self, lanes: Iterable[Lane]) -> None: ...


class Acceptor:
    """One a process, for all threads. ``clock`` returns monotonic seconds."""

    def __init__(
        self, intake: Intake, depths: Depths, counts: Counts, *, queue_max_ready: int, clock: Callable[[], float]
    ) -> None:
        self._intake, self._depths, self._counts = intake, depths, counts
        self._queue_max_ready = queue_max_ready
        self._clock = clock
        self._in_flight = InFlight()

    def accept(self, client: str, documents: Sequence[Any]) -> list[Verdict]:
        """One verdict a document, in order; ``Accepted`` only after the broker's confirm."""
        answer_at = self._clock() + ANSWER_WITHIN_S - _ANSWER_S
        considered = [self._consider(document) for document in documents]
        candidates = [found for found in considered if isinstance(found, Candidate)]
        with self._in_flight.hold([(client, candidate.request_id) for candidate in candidates]) as ours:
            mine = [candidate for candidate, is_ours in zip(candidates, ours, strict=True) if is_ours]
            stored = iter(self._store(client, mine, answer_at) if mine else ())
        taken = iter(ours)
        return [
            found if isinstance(found, Problem) else next(stored) if next(taken) else _being_worked_on()
            for found in considered
        ]

    def _consider(self, document: Any) -> Candidate | Problem:
        try:
            candidate = candidate_from(document)
        except Problem as problem:
            return problem
        for lane in candidate.lanes:
            ready = self._depths.ready(lane)
            if ready is not None and ready > self._queue_max_ready:
                return unavailable(f"{lane.queue} is full", RETRY_LANE_FULL_S)
        return candidate

    def _store(self, client: str, candidates: list[Candidate], answer_at: float) -> list[Verdict]:
        job = Job(client, candidates, answer_at - _RECORD_S)
        self._intake.submit(job)
        job.wait(answer_at - self._clock())
        verdicts = [verdict or unavailable("no confirm in time; sending it again is safe") for verdict in job.verdicts]
        self._counts.add(
            lane
            for candidate, verdict in zip(candidates, verdicts, strict=True)
            if isinstance(verdict, Accepted) and not verdict.replayed
            for lane in candidate.lanes
        )
        return verdicts


def _being_worked_on() -> Problem:
    return Problem(409, "a request with this request_id is being worked on", retry_after_s=RETRY_SOON_S)
