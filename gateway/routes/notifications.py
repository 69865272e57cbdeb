"""``POST /notifications`` and ``POST /notifications/batch``."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from gateway.acceptor import Acceptor
from gateway.access import Keyring
from gateway.batch import MAX_BATCH_BYTES, MAX_BATCH_DEPTH, batch_items, batch_result
from gateway.body import read_json
from gateway.problem import RETRY_OVERLOADED_S, Problem
from gateway.routes.answers import json_answer
from gateway.verdict import Verdict
from shared.envelope import MAX_BODY_BYTES


def notifications_blueprint(acceptor: Acceptor, keyring: Keyring) -> Blueprint:
    """Both need the scope ``send``."""
    blueprint = Blueprint("notifications", __name__)

    @blueprint.post("/notifications")
    def accept() -> Response:
        client = keyring.client(request.headers, "send")
        document = read_json(request, MAX_BODY_BYTES)
        return _answer(acceptor.accept(client, [document])[0])

    @blueprint.post("/notifications/batch")
    def accept_batch() -> Response:
        client = keyring.client(request.headers, "send")
        items = batch_items(read_json(request, MAX_BATCH_BYTES, MAX_BATCH_DEPTH))
        verdicts = acceptor.accept(client, items)
        results = [batch_result(index, *pair) for index, pair in enumerate(zip(items, verdicts, strict=True))]
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
    if any(result["status"] == 503 for result in results):
        return json_answer({"results": results}, 503, {"Retry-After": str(RETRY_OVERLOADED_S)})
    return json_answer({"results": results})
