"""One request's notifications on their way through the intake: made in its thread, decided in the loop's."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from gateway.accept.candidate import Candidate
from gateway.accept.verdict import Verdict


class Job:
    """``until`` is the monotonic time by which publishing must have ended."""

    __slots__ = ("_done", "_undecided", "candidates", "client", "until", "verdicts")

    def __init__(self, client: str, candidates: Sequence[Candidate], until: float) -> None:
        self.client = client
        self.candidates = candidates
        self.until = until
        self.verdicts: list[Verdict | None] = [None] * len(candidates)
        self._undecided = len(candidates)
        # A bare lock is the cheapest thing that one thread can wait for and another one end.
        self._done = threading.Lock()
        self._done.acquire()

    @property
    def undecided(self) -> Iterator[tuple[int, Candidate]]:
        """(index, candidate) of those without a verdict."""
        return ((i, c) for i, (c, v) in enumerate(zip(self.candidates, self.verdicts, strict=True)) if v is None)

    def decide(self, index: int, verdict: Verdict) -> None:
        """Settle one, once; the last one wakes the request's thread."""
        if self.verdicts[index] is not None:
            raise RuntimeError("decided already")
        self.verdicts[index] = verdict
        self._undecided -= 1
        if not self._undecided:
            self._done.release()

    def decide_rest(self, verdict: Verdict) -> None:
        for index, _ in list(self.undecided):
            self.decide(index, verdict)

    def wait(self, timeout_s: float) -> bool:
        """Whether all were decided within ``timeout_s``."""
        return self._done.acquire(timeout=max(0.0, timeout_s))
