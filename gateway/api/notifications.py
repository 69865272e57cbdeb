"""Serves ``POST /notifications`` and ``POST /notifications/batch``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import orjson
import structlog
from flask import Response, request
from pydantic import Field

from gateway.accept.acceptor import Acceptor, Verdict
from gateway.accept.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS, Batches, echoed_id
from gateway.health.refused import Refused
from gateway.http.answers import AnswerModel, json_answer
from gateway.http.body import read_body, read_json
from gateway.http.endpoint import Answer, Body, Reply, Resource
from gateway.http.problem import RETRY_OVERLOADED_S, UNAVAILABLE, Problem, ProblemDocument, unavailable
from shared.message.envelope import MAX_BODY_BYTES, Envelope

log = structlog.get_logger(__name__)


class Accepting(NamedTuple):
    """Holds what the handlers here work with."""

    acceptor: Acceptor
    refused: Refused
    batches: Batches


resource = Resource[Accepting]("notifications", "Accept notifications for delivery")


class AcceptedAnswer(AnswerModel):
    """Says that every channel's message is stored on a quorum queue."""

    request_id: str
    status: Literal["accepted"]
    channels: Annotated[list[str], Field(description="the channels that it was published to")]


class BatchResult(AnswerModel):
    """Holds the verdict on one item of a batch."""

    index: Annotated[int, Field(description="the item's place in the batch, counted from 0")]
    request_id: str | None
    status: Annotated[int, Field(description="the HTTP status that the item would have got as a single request")]
    error: Annotated[ProblemDocument | None, Field(exclude_if=lambda error: error is None)] = None


class BatchAnswer(AnswerModel):
    """Holds one result for each item, in input order."""

    results: list[BatchResult]


PUSH: dict[str, Any] = {
    "request_id": "order-1027-shipped",
    "notification_type": "push",
    "user_id": "user_id1",
    "template_code": "PRODUCT_UPDATE",
    "variables": {"name": "Ada", "link": "https://example.com/orders/1027"},
    "priority": "high",
}
EMAIL: dict[str, Any] = {
    "request_id": "invoice-88",
    "notification_type": "email",
    "recipient": {"email": "ada@example.com"},
    "content": {"title": "Your invoice", "body": "Invoice 88 is ready."},
}
SMS: dict[str, Any] = {
    "request_id": "otp-4711",
    "notification_type": "sms",
    "recipient": {"phone": "+15550100"},
    "content": {"body": "Your code is 123456."},
    "priority": 10,
    "expires_at": "2030-01-01T12:00:00Z",
}
INBOX: dict[str, Any] = {
    "request_id": "invoice-89-inbox",
    "notification_type": "websocket",
    "user_id": "user_id1",
    "content": {
        "title": "Your invoice",
        "body": "Invoice 89 is ready.",
        "link": "https://example.com/invoices/89",
    },
    "type": "success",
    "category": "billing",
}
BOTH: dict[str, Any] = {
    "request_id": "invoice-90",
    "notification_type": "both",
    "user_id": "user_id1",
    "content": {"title": "Your invoice", "body": "Invoice 90 is ready."},
}
SEVERAL: dict[str, Any] = {
    "request_id": "order-1027-delivered",
    "channels": ["push", "email"],
    "user_id": "user_id1",
    "content": {"title": "Delivered", "body": "Order 1027 has been delivered."},
    "metadata": {"order": 1027},
}
BATCH = [PUSH, EMAIL, {**SMS, "request_id": "otp-4712", "priority": 11}]
_BAD_PRIORITY = Problem(
    422, "the notification is not valid", [("priority", "must be high, medium, low or an integer from 0 to 10")]
)
BATCH_ANSWER = BatchAnswer(
    results=[
        BatchResult(index=0, request_id="order-1027-shipped", status=202),
        BatchResult(index=1, request_id="invoice-88", status=202),
        BatchResult(index=2, request_id="otp-4712", status=422, error=_BAD_PRIORITY.document()),
    ]
)
_UNCONFIRMED = unavailable("the broker does not answer; sending it again is safe").document()


@resource.endpoint(
    "POST",
    "/notifications",
    scope="send",
    body=Body(
        Envelope,
        {"push": PUSH, "email": EMAIL, "sms": SMS, "websocket": INBOX, "both": BOTH, "several_channels": SEVERAL},
    ),
    answers=[
        Answer(
            202,
            "The notification is stored: the broker has confirmed it.",
            AcceptedAnswer(request_id="order-1027-shipped", status="accepted", channels=["push"]),
            headers=("Idempotent-Replayed",),
        )
    ],
    problems=(409, 503),
)
def accept(accepting: Accepting, client: str) -> Response:
    """Accept one notification."""
    document = read_json(request, MAX_BODY_BYTES)
    verdict = accepting.acceptor.accept(client, [document])[0]
    if isinstance(verdict, Problem):
        verdict.request_id = echoed_id(document)
        raise verdict
    # The worker logs the outcome. A line here as well took a tenth of the work at 2 000 requests per second.
    log.debug(
        "accepted",
        client=client,
        request_id=verdict.request_id,
        channels=verdict.channels,
        replayed=verdict.replayed,
    )
    # This is an AcceptedAnswer, written without the model: here making and dumping the model would cost about 9 us of
    # the 115 us that the route itself takes. The tests check that these bytes fit the model.
    answer = orjson.dumps({"request_id": verdict.request_id, "status": "accepted", "channels": verdict.channels})
    return json_answer(answer, 202, {"Idempotent-Replayed": "true"} if verdict.replayed else None)


@resource.endpoint(
    "POST",
    "/notifications/batch",
    scope="send",
    body=Body(
        Annotated[list[Envelope], Field(min_length=1, max_length=MAX_BATCH_ITEMS)],
        {"three": BATCH},
    ),
    answers=[
        Answer(200, "Each item has been decided; `results` has one verdict per item.", BATCH_ANSWER),
        Answer(
            503,
            "The broker has not confirmed at least one item; `results` tells which. Send those items again.",
            BatchAnswer(
                results=[BatchResult(index=0, request_id="order-1027-shipped", status=503, error=_UNCONFIRMED)]
            ),
            headers=("Retry-After",),
        ),
    ],
)
def accept_batch(accepting: Accepting, client: str) -> Reply:
    """Accept up to 1 000 notifications and decide each of them separately."""
    ids: list[str | None] = []

    def documents(raw: bytes) -> Iterator[Any]:
        for document in accepting.batches.documents(raw):
            ids.append(echoed_id(document))
            yield document

    with accepting.batches.place():
        verdicts = accepting.acceptor.accept(client, documents(read_body(request, MAX_BATCH_BYTES)))
    results = [_result(index, *pair) for index, pair in enumerate(zip(ids, verdicts, strict=True))]
    _log_batch(client, results, accepting.refused)
    answer = BatchAnswer(results=results)
    # A caller that reads only the status must not believe that unstored items are stored.
    if any(result.status == UNAVAILABLE for result in results):
        return Reply(answer, UNAVAILABLE, {"Retry-After": str(RETRY_OVERLOADED_S)})
    return Reply(answer)


def _result(index: int, request_id: str | None, verdict: Verdict) -> BatchResult:
    if isinstance(verdict, Problem):
        return BatchResult(index=index, request_id=request_id, status=verdict.status, error=verdict.document())
    return BatchResult(index=index, request_id=verdict.request_id, status=202)


def _log_batch(client: str, results: Sequence[BatchResult], refused: Refused) -> None:
    counts = Counter(result.status for result in results)
    for status in counts.keys() - {202}:
        refused.items(status, counts[status])
    say = log.warning if counts[UNAVAILABLE] else log.info
    say("batch_answered", client=client, statuses={str(status): count for status, count in counts.items()})
