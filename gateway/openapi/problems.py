"""The problems that mean the same at every endpoint, with one example of each."""

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
            "Not JSON as every reader would read it: syntax, NaN, a number out of range, a duplicate key, a lone "
            "surrogate, nested deeper than 32 levels. The key is named if there is one.",
            Problem(400, "duplicate key", [("request_id", "duplicate key")]),
        ),
        Answer(401, "No key, or an unknown one.", key_required()),
        Answer(403, "The key does not have the scope.", Problem(403, "this key does not have the scope 'send'")),
        Answer(
            409,
            "A copy of this request is being worked on in this moment.",
            Problem(409, "a request with this request_id is being worked on", retry_after_s=RETRY_SOON_S),
        ),
        Answer(413, "Too large: 64 KiB, a batch 4 MiB.", Problem(413, "the body is larger than 65536 bytes")),
        Answer(415, "Not `application/json`.", Problem(415, "the body must be application/json")),
        Answer(
            422,
            "Refused, with every bad field named; or the request_id was used for another notification.",
            Problem(
                422,
                "the notification is not valid",
                [("request_id", "required"), ("priority", "must be high, medium, low or an integer from 0 to 10")],
            ),
        ),
        Answer(
            503,
            "Not confirmed by the broker. The same request may be sent again.",
            unavailable("the broker does not answer; sending it again is safe"),
        ),
    )
}


def common_problems(endpoint: Endpoint) -> Iterator[int]:
    """Yield the statuses that the endpoint shares with others and does not describe itself."""
    statuses = set(endpoint.problems)
    if endpoint.scope is not None:
        statuses |= {401, 403}
    if endpoint.body is not None:
        statuses |= {400, 413, 415, 422}
    if endpoint.query is not None:
        statuses.add(422)
    yield from sorted(statuses - {answer.status for answer in endpoint.answers})
