"""Problem documents (RFC 9457): the one shape of every error that a caller sees."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

#: waits that a 503 or 409 names, seconds
RETRY_SOON_S = 1
RETRY_OVERLOADED_S = 2
RETRY_LANE_FULL_S = 30

UNAVAILABLE = 503


class Problem(Exception):
    """One refusal. ``errors`` holds (field path, what is wrong) a field; ``retry_after_s`` travels as a header."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        *,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        super().__init__(f"{status} {detail}")

    def document(self) -> dict[str, Any]:
        """What the caller reads."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "errors": [{"field": field, "detail": detail} for field, detail in self.errors],
        }


def unavailable(detail: str, retry_after_s: int = RETRY_OVERLOADED_S) -> Problem:
    """503: ours to mend, the same request may be sent again. It always names a time."""
    return Problem(UNAVAILABLE, detail, retry_after_s=retry_after_s)
