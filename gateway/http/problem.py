"""Writes problem documents (RFC 9457): every error that a caller sees has this shape."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Literal

from flask import Response
from pydantic import Field

from gateway.http.answers import AnswerModel, json_answer

PROBLEM_JSON = "application/problem+json"

#: Values of Retry-After in a 503 or 409, in seconds.
RETRY_SOON_S = 1
RETRY_OVERLOADED_S = 2
RETRY_LANE_FULL_S = 30

UNAVAILABLE = 503

#: One body can hold ten thousand bad fields. Nobody reads as many, and a thousand items of a batch would fill memory.
MOST_NAMED = 20


class FieldError(AnswerModel):
    """Names one fault of a request."""

    field: Annotated[str, Field(description="path of the field, as in `content.title`; empty for the whole document")]
    detail: str


class ProblemDocument(AnswerModel):
    """Describes an error as RFC 9457 defines it."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    errors: list[FieldError]


class Problem(Exception):
    """Refuses a request. ``errors`` holds a pair (field path, what is wrong) for each bad field, of which the first
    MOST_NAMED are kept; ``retry_after_s`` is sent as the header Retry-After.

    ``request_id`` tells the log which request was refused, if that is known.
    """

    request_id: str | None = None

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        *,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        named = tuple(errors)
        if len(named) > MOST_NAMED:
            detail = f"{detail}; the first {MOST_NAMED} of {len(named)} faults are named"
        self.status = status
        self.detail = detail
        self.errors = named[:MOST_NAMED]
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        super().__init__(f"{status} {detail}")

    def document(self) -> ProblemDocument:
        """Returns the document that the caller reads."""
        return ProblemDocument(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            errors=[FieldError(field=field, detail=detail) for field, detail in self.errors],
        )

    def response(self) -> Response:
        """Returns the document as an answer with its status and headers."""
        return json_answer(self.document(), self.status, self.headers, PROBLEM_JSON)


def unavailable(detail: str, retry_after_s: int = RETRY_OVERLOADED_S) -> Problem:
    """Returns a 503: the fault is on the server's side, and the caller may send the same request again.

    The answer always has a Retry-After.
    """
    return Problem(UNAVAILABLE, detail, retry_after_s=retry_after_s)
