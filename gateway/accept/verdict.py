"""What becomes of one submitted notification: accepted, or a problem."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.http.problem import Problem


@dataclass(frozen=True, slots=True)
class Accepted:
    """Stored on a quorum queue, now or (``replayed``) by an earlier request with the same body."""

    request_id: str
    channels: list[str]
    replayed: bool = False


Verdict = Accepted | Problem
