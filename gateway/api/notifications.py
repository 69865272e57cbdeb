"""``POST /notifications`` and ``POST /notifications/batch``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog
from flask import Blueprint, Response, request

from gateway.accept.acceptor import Acceptor, Verdict
from gateway.accept.batch import MAX_BATCH_BYTES, MAX_BATCH_DEPTH, batch_items, batch_result, echoed_id
from gateway.api.answers import json_answer
from gateway.http.auth import Keyring
from gateway.http.body import read_json
from gateway.http.problem import RETRY_OVERLOADED_S, UNAVAILABLE, Problem
from shared.message.envelope import MAX_BODY_BYTES

log = structlog.get_logger(__name__)


def notifications_blueprint(acceptor: Acceptor, keyring: Keyring) -> Blueprint:
    """Both need the scope ``send``."""
    blueprint = Blueprint("notifications", __name__)

    @blueprint.post("/notifications")
    def accept() -> Response:
        client = keyring.client(request.headers, "send")
        document = read_json(request, MAX_BODY_BYTES)
        verdict = acceptor.accept(client, [document])[0]
        _log_single(client, document, verdict)
        return _answer(verdict)

    @blueprint.post("/notifications/batch")
    def accept_batch() -> Response:
        client = keyring.client(request.headers, "send")
        items = batch_items(read_json(request, MAX_BATCH_BYTES, MAX_BATCH_DEPTH))
        verdicts = acceptor.accept(client, items)
        results = [batch_result(index, *pair) for index, pair in enumerate(zip(items, verdicts, strict=True))]
        _log_batch(client, results)
        return _batch_answer(results)

    return blueprint


def _answer(verdict: Verdict) -> Response:
    if isinstance(verdict, Problem):
        raise verdict
    return json_answer(
        {"request_id": verdict.request_id, "status": "accepted", "channels": verdict.channels},
        202,
        {"Idempotent-Replayed": "true"} if verdict.replayed else None,
    )


def _batch_answer(results: list[dict[str, Any]]) -> Response:
    # A caller that looks at the status alone must not take what was not stored for stored.
    if any(result["status"] == UNAVAILABLE for result in results):
        return json_answer({"results": results}, UNAVAILABLE, {"Retry-After": str(RETRY_OVERLOADED_S)})
    return json_answer({"results": results})


def _log_single(client: str, document: Any, verdict: Verdict) -> None:
    if not isinstance(verdict, Problem):
        # Its outcome is a line of the worker's; at 2 000 a second the second line was a tenth of the work.
        log.debug(
            "accepted",
            client=client,
            request_id=verdict.request_id,
            channels=verdict.channels,
            replayed=verdict.replayed,
        )
    else:
        say = log.warning if verdict.status == UNAVAILABLE else log.info
        # The fields' names only: what stands in them is the caller's.
        fields = [field for field, _ in verdict.errors]
        say("refused", client=client, request_id=echoed_id(document), status=verdict.status, fields=fields)


def _log_batch(client: str, results: list[dict[str, Any]]) -> None:
    counts = Counter(result["status"] for result in results)
    say = log.warning if counts[UNAVAILABLE] else log.info
    say("batch_answered", client=client, statuses={str(status): count for status, count in counts.items()})
