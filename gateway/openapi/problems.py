"""Describes the problems that mean the same at every endpoint, with one example of each."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.http.auth import key_required
from gateway.http.endpoint import Answer, Endpoint
from gateway.http.problem import RETRY_SOON_S, Problem, unavailable

COMMON: dict[int, Answer] = {
    answer.status: answer
    for answer in (
        Answer(
            400,
            "The body is not strict JSON: bad syntax, NaN, a number out of range, a duplicate key, a lone surrogate or "
            "nesting deeper than 32 levels. The answer names the key if there is one.",
            Problem(400, "duplicate key", [("request_id", "duplicate key")]),
        ),
        Answer(
            401, "The key is missing or unknown; or the user's token is not valid, or not any more.", key_required()
        ),
        Answer(
            403,
            "The key does not have the scope that this endpoint needs; or the token belongs to another user.",
            Problem(403, "this key does not have the scope 'send'"),
        ),
        Answer(
            409,
            "Another request with this `request_id` is being worked on. Send this one again later.",
            Problem(409, "a request with this request_id is being worked on", retry_after_s=RETRY_SOON_S),
        ),
        Answer(
            413,
            "The body is too large. The limit is 64 KiB, and 4 MiB for a batch.",
            Problem(413, "the body is larger than 65536 bytes"),
        ),
        Answer(415, "The body is not `application/json`.", Problem(415, "the body must be application/json")),
        Answer(
            422,
            "The request is not valid, and the answer names up to 20 bad fields; or its `request_id` was already used "
            "for another notification.",
            Problem(
                422,
                "the notification is not valid",
                [("request_id", "required"), ("priority", "must be high, medium, low or an integer from 0 to 10")],
            ),
        ),
        Answer(
            503,
            "The broker has not confirmed the notification, or too many requests wait. You may send the same request "
            "again.",
            unavailable("the broker does not answer; sending it again is safe"),
        ),
    )
}


def common_problems(endpoint: Endpoint) -> Iterator[int]:
    """Yields the statuses that the endpoint shares with others and does not describe itself."""
    statuses = set(endpoint.problems)
    if endpoint.scope is not None:
        statuses |= {401, 403}
    if endpoint.body is not None:
        statuses |= {400, 413, 415, 422}
    if endpoint.query is not None:
        statuses.add(422)
    yield from sorted(statuses - {answer.status for answer in endpoint.answers})
