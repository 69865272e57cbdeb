"""Takes a request's notifications from their documents to their verdicts, within five seconds.

``accept`` runs in the request's thread: it validates, hands a Submission to the publisher's loop and waits for it once.
``_process`` runs in that loop and reads from top to bottom: look up, admit, publish, remember, decide. Requests that
come in during one turn of the loop and go to the same lanes take these steps together, so that they share their price.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.accept.candidate import Candidate, candidate_from
from gateway.accept.duplicates import AcceptedRecords, Key
from gateway.accept.gate import Admission, Gate
from gateway.health.counts import AcceptedCounts
from gateway.http.auth import ANONYMOUS
from gateway.http.errors import FAULT, problem_for
from gateway.http.problem import RETRY_SOON_S, Problem, unavailable
from shared.broker.publisher import Publisher
from shared.clock import now_ms, rfc3339
from shared.errors import PublishFailed
from shared.message.channels import Lane

log = structlog.get_logger(__name__)

#: The gateway answers within this time, even if the broker does not, in seconds.
ANSWER_WITHIN_S = 5.0
#: Parts of ANSWER_WITHIN_S reserved for the record in Redis after a publish and for the answer itself, in seconds.
_RECORD_S, _ANSWER_S = 1.0, 0.2
_LEAST_DEADLINE_S = 0.05


@dataclass(frozen=True, slots=True)
class Accepted:
    """Says that a notification is stored on a quorum queue, now or (``replayed``) by an earlier request with the same
    body.
    """

    request_id: str
    channels: list[str]
    replayed: bool = False


Verdict = Accepted | Problem


class Submission:
    """Holds the valid notifications of one request, and the verdict on each of them once it is decided.

    ``until`` is the monotonic time by which publishing must have ended.
    """

    __slots__ = ("_done", "candidates", "client", "until", "verdicts")

    def __init__(self, client: str, candidates: Sequence[Candidate], until: float) -> None:
        self.client = client
        self.candidates = candidates
        self.until = until
        self.verdicts: list[Verdict | None] = [None] * len(candidates)
        # A bare lock is the cheapest future that one thread can wait for and that another thread can resolve.
        self._done = threading.Lock()
        self._done.acquire()

    @property
    def namespace(self) -> str:
        """Returns the client in whose namespace the request_ids are, '' if callers need no key."""
        return "" if self.client == ANONYMOUS else self.client

    def key(self, candidate: Candidate) -> Key:
        return (self.client, candidate.request_id)

    def finish(self) -> None:
        """Wakes the request's thread."""
        self._done.release()

    def wait(self, timeout_s: float) -> None:
        """Returns when the submission is finished, or after ``timeout_s`` with what has been decided by then."""
        self._done.acquire(timeout=max(0.0, timeout_s))


#: A notification, by its index in its submission.
Entry = tuple[Submission, int, Candidate]


def _undecided(submissions: Sequence[Submission]) -> list[Entry]:
    """Returns the notifications that have no verdict yet."""
    return [
        (submission, index, candidate)
        for submission in submissions
        for index, candidate in enumerate(submission.candidates)
        if submission.verdicts[index] is None
    ]


class Acceptor:
    """Decides notifications for all threads of a process; there is one per process.

    ``clock`` returns monotonic seconds.
    """

    def __init__(
        self,
        records: AcceptedRecords,
        gate: Gate,
        counts: AcceptedCounts,
        *,
        publish_deadline_s: float,
        phone_region: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records, self._gate, self._counts = records, gate, counts
        self._publish_deadline_s = publish_deadline_s
        self._phone_region = phone_region
        self._clock = clock
        self._submitted: deque[Submission] = deque()
        self._in_progress: set[Key] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False

    def accept(self, client: str, documents: Iterable[Any]) -> list[Verdict]:
        """Returns one verdict per document, in order; ``Accepted`` only after the broker's confirm.

        It keeps no document while it asks for the next one.
        """
        answer_at = self._clock() + ANSWER_WITHIN_S - _ANSWER_S
        considered = [_consider(document, self._phone_region) for document in documents]
        candidates = [found for found in considered if isinstance(found, Candidate)]
        submission = Submission(client, candidates, answer_at - _RECORD_S)
        if candidates:
            self._submit(submission)
            submission.wait(answer_at - self._clock())
        verdicts = iter(submission.verdicts)
        return [found if isinstance(found, Problem) else next(verdicts) or _unconfirmed() for found in considered]

    async def run(self, publisher: Publisher) -> None:
        """Processes submissions on the publisher's loop until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as processing:
            while True:
                self._woken = False
                for group in self._groups():
                    processing.create_task(self._process(group, publisher))
                await self._wake.wait()
                self._wake.clear()

    def _groups(self) -> list[list[Submission]]:
        """Takes what has been submitted: single notifications for the same lanes share one group, a batch goes alone.

        So a lane that is slow to confirm holds up no other, and no single notification waits for a batch.
        """
        batches: list[list[Submission]] = []
        singles: dict[tuple[Lane, ...], list[Submission]] = {}
        while self._submitted:
            submission = self._submitted.popleft()
            if len(submission.candidates) > 1:
                batches.append([submission])
            else:
                singles.setdefault(submission.candidates[0].lanes, []).append(submission)
        return [*singles.values(), *batches]

    def _submit(self, submission: Submission) -> None:
        self._submitted.append(submission)
        # One wake-up serves all requests that are submitted before the loop runs.
        if not self._woken and self._loop is not None:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _process(self, group: list[Submission], publisher: Publisher) -> None:
        """Decides every notification of a group of requests: look up, admit, publish, remember, decide."""
        held = self._hold(group)
        try:
            await self._look_up(group)
            with self._gate.admission() as admission:
                self._admit(group, admission)
                confirmed = await self._publish(group, admission, publisher)
            # Only now: a record written before the confirm would answer 202 for something that was never stored.
            if confirmed:
                await self._records.remember(
                    [(sub.key(candidate), candidate.digest) for sub, _, candidate in confirmed]
                )
            for submission, index, candidate in confirmed:
                submission.verdicts[index] = Accepted(candidate.request_id, candidate.channels)
            self._counts.add(lane for _, _, candidate in confirmed for lane in candidate.lanes)
        except Exception:
            log.exception("accepting_failed")
            for submission, index, _ in _undecided(group):
                submission.verdicts[index] = FAULT
        finally:
            self._in_progress.difference_update(held)
            for submission in group:
                submission.finish()

    def _hold(self, group: list[Submission]) -> list[Key]:
        """Keeps copies of one request from racing each other: answers 409 if the request_id is already in progress."""
        held = []
        for submission, index, candidate in _undecided(group):
            key = submission.key(candidate)
            if key in self._in_progress:
                why = "a request with this request_id is being worked on"
                submission.verdicts[index] = Problem(409, why, retry_after_s=RETRY_SOON_S)
            else:
                self._in_progress.add(key)
                held.append(key)
        return held

    async def _look_up(self, group: list[Submission]) -> None:
        """Decides what was accepted before: 202 again for the same notification, 422 for another one."""
        asked = _undecided(group)
        if not asked:
            return
        known = await self._records.find([submission.key(candidate) for submission, _, candidate in asked])
        for (submission, index, candidate), digest in zip(asked, known, strict=True):
            if digest is not None and candidate.was_accepted_as(digest):
                submission.verdicts[index] = Accepted(candidate.request_id, candidate.channels, replayed=True)
            elif digest is not None:
                why = "was used for another notification"
                submission.verdicts[index] = Problem(422, f"this request_id {why}", [("request_id", why)])

    def _admit(self, group: list[Submission], admission: Admission) -> None:
        """Decides what must not be published now: 503."""
        for submission, index, candidate in _undecided(group):
            submission.verdicts[index] = admission.refusal(submission, candidate.lanes)

    async def _publish(self, group: list[Submission], admission: Admission, publisher: Publisher) -> list[Entry]:
        """Publishes what is undecided, decides what was not confirmed, and returns what was."""
        admitted = _undecided(group)
        if not admitted:
            return []
        accepted_at = rfc3339(now_ms())
        publications = [
            message
            for submission, _, candidate in admitted
            for message in candidate.publications(accepted_at, submission.namespace)
        ]
        until = max(submission.until for submission in group)
        left_s = max(_LEAST_DEADLINE_S, min(self._publish_deadline_s, until - self._clock()))
        fates = iter(await publisher.publish_all(publications, left_s))
        confirmed = []
        for entry in admitted:
            submission, index, candidate = entry
            failed: PublishFailed | None = None
            for lane in candidate.lanes:
                failure = next(fates)
                admission.heard(lane, failure)
                failed = failed or failure
            if failed is None:
                confirmed.append(entry)
            else:
                submission.verdicts[index] = problem_for(failed)
        return confirmed


def _unconfirmed() -> Problem:
    return unavailable("the broker has not confirmed in time; sending it again is safe")


def _consider(document: Any, phone_region: str | None) -> Candidate | Problem:
    try:
        return candidate_from(document, phone_region)
    except Problem as problem:
        # Its traceback would keep the document.
        return problem.with_traceback(None)
