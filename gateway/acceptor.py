"""Accepting notifications: validate, publish, wait for the confirms, record. Single requests and batches alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.candidate import Candidate, candidate_from
from gateway.errors import problem_for
from gateway.in_flight import InFlight
from gateway.probe_gate import Pass, ProbeGate
from gateway.problem import RETRY_LANE_FULL_S, RETRY_SOON_S, Problem, unavailable
from shared.broker.publisher import Publication
from shared.channels import Lane
from shared.clock import now_ms, rfc3339
from shared.errors import PublishFailed, PublishUnknown

#: the gateway answers within this, whatever the broker does, seconds
ANSWER_WITHIN_S = 5.0
#: kept of it for what follows a publish (the record in Redis, or the publisher's grace), seconds
_RESERVE_S = 1.2
_LEAST_DEADLINE_S = 0.05


class Broker(Protocol):
    """What is needed of ``shared.broker.threaded.ThreadedPublisher``."""

    def publish(self, publications: Sequence[Publication], deadline_s: float | None) -> list[PublishFailed | None]: ...


class Records(Protocol):
    """What is needed of ``AcceptedRecords``."""

    def find(self, client: str, request_ids: Sequence[str]) -> dict[str, str]: ...

    def remember(self, client: str, digests: dict[str, str]) -> None: ...


class Depths(Protocol):
    """What is needed of ``shared.broker.sampler.Sampler``."""

    def ready(self, lane: Lane) -> int | None: ...


class Counts(Protocol):
    """What is needed of ``AcceptedCounts``."""

    def add(self, lanes: Iterable[Lane]) -> None: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """Stored on a quorum queue, now or (``replayed``) by an earlier request with the same body."""

    request_id: str
    channels: list[str]
    replayed: bool = False


Verdict = Accepted | Problem


@dataclass(slots=True)
class _Item:
    candidate: Candidate | None = None
    verdict: Verdict | None = None

    @property
    def request_id(self) -> str:
        return self.candidate.request_id if self.candidate else ""


class Acceptor:
    """One a process. ``gate`` stands before the broker; ``clock`` returns monotonic seconds."""

    def __init__(
        self,
        broker: Broker,
        records: Records,
        depths: Depths,
        counts: Counts,
        gate: ProbeGate,
        *,
        publish_deadline_s: float,
        queue_max_ready: int,
        clock: Callable[[], float],
    ) -> None:
        self._broker, self._records, self._depths, self._counts, self._gate = broker, records, depths, counts, gate
        self._publish_deadline_s = publish_deadline_s
        self._queue_max_ready = queue_max_ready
        self._clock = clock
        self._in_flight = InFlight()

    def accept(self, client: str, documents: Sequence[Any]) -> list[Verdict]:
        """One verdict a document, in order, within ANSWER_WITHIN_S; ``Accepted`` only after the broker's confirm."""
        until = self._clock() + ANSWER_WITHIN_S - _RESERVE_S
        items = [_item(document) for document in documents]
        candidates = _undecided(items)
        with self._in_flight.hold([(client, candidate.request_id) for _, candidate in candidates]) as ours:
            for (item, _), mine in zip(candidates, ours, strict=True):
                if not mine:
                    item.verdict = Problem(
                        409, "a request with this request_id is being worked on", retry_after_s=RETRY_SOON_S
                    )
            self._recall(client, _undecided(items))
            self._refuse_full_lanes(_undecided(items))
            self._publish(client, _undecided(items), until)
        return [item.verdict for item in items if item.verdict is not None]

    def _recall(self, client: str, items: list[tuple[_Item, Candidate]]) -> None:
        known = self._records.find(client, [candidate.request_id for _, candidate in items]) if items else {}
        for item, candidate in items:
            digest = known.get(candidate.request_id)
            if digest == candidate.digest:
                item.verdict = Accepted(candidate.request_id, candidate.channels, replayed=True)
            elif digest is not None:
                why = "was used for another notification"
                item.verdict = Problem(422, f"this request_id {why}", [("request_id", why)])

    def _refuse_full_lanes(self, items: list[tuple[_Item, Candidate]]) -> None:
        for item, candidate in items:
            for lane, _ in candidate.parts:
                ready = self._depths.ready(lane)
                if ready is not None and ready > self._queue_max_ready:
                    item.verdict = unavailable(f"{lane.queue} is full", RETRY_LANE_FULL_S)

    def _publish(self, client: str, items: list[tuple[_Item, Candidate]], until: float) -> None:
        if not items:
            return
        leave = self._gate.admit()
        if not isinstance(leave, Pass):
            why = "the broker does not answer" if leave == "shut" else "too many requests are waiting for the broker"
            for item, _ in items:
                item.verdict = unavailable(f"{why}; sending it again is safe")
            return
        with leave:
            accepted_at = rfc3339(now_ms())
            publications = [p for _, candidate in items for p in candidate.publications(accepted_at)]
            deadline_s = max(_LEAST_DEADLINE_S, min(self._publish_deadline_s, until - self._clock()))
            results = self._broker.publish(publications, deadline_s)
            _learn(leave, results)
        self._settle(client, items, results)

    def _settle(self, client: str, items: list[tuple[_Item, Candidate]], results: list[PublishFailed | None]) -> None:
        answers = iter(results)
        confirmed: list[Candidate] = []
        for item, candidate in items:
            failures = [failure for _ in candidate.parts if (failure := next(answers)) is not None]
            if failures:
                item.verdict = problem_for(failures[0])
            else:
                item.verdict = Accepted(candidate.request_id, candidate.channels)
                confirmed.append(candidate)
        # Only now: a record written before the confirm would answer 202 for something that was never stored.
        self._records.remember(client, {candidate.request_id: candidate.digest for candidate in confirmed})
        self._counts.add(lane for candidate in confirmed for lane, _ in candidate.parts)


def _item(document: Any) -> _Item:
    try:
        return _Item(candidate=candidate_from(document))
    except Problem as problem:
        return _Item(verdict=problem)


def _undecided(items: list[_Item]) -> list[tuple[_Item, Candidate]]:
    return [(item, item.candidate) for item in items if item.verdict is None and item.candidate is not None]


def _learn(leave: Pass, results: list[PublishFailed | None]) -> None:
    """A returned or refused message is an answer too; only silence shuts the gate."""
    if any(isinstance(result, PublishUnknown) for result in results):
        leave.missed()
    else:
        leave.answered()
