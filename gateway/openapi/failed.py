"""``/failed`` in the document."""

from __future__ import annotations

from typing import Any

from gateway.http.problem import Problem
from gateway.openapi import failed_examples as examples
from gateway.openapi.pieces import answer, body, keys, problem_answer, problems
from gateway.openapi.schemas import listing_fields, ref

_AUTH_ERRORS = (401, 403)
_BODY_ERRORS = (400, 413, 415)


def failed_paths() -> dict[str, Any]:
    """What an operator may do."""
    return {
        "/failed": {"get": _list()},
        "/failed/{failed_id}": {"get": _show()},
        "/failed/replay": {"post": _replay()},
        "/failed/discard": {"post": _discard()},
    }


def _list() -> dict[str, Any]:
    ok = answer("What there is; the queue is left as it was.", ref("FailedList"), examples.LIST)
    parameters = [_query(name, *pair) for name, pair in listing_fields().items()]
    return {**_operation("listFailed", "List failed messages, oldest first", ok, _refused()), "parameters": parameters}


def _show() -> dict[str, Any]:
    ok = answer("The message.", ref("FailedMessage"), examples.MESSAGE)
    missing = problem_answer(examples.MISSING, "No such message, or beyond what one scan reaches.")
    operation = _operation("showFailed", "Show one failed message", ok, {"404": missing, **_refused()})
    schema = {"type": "string", "minLength": 1}
    named = {"name": "failed_id", "in": "path", "required": True, "description": "`id` of an item", "schema": schema}
    reveal = _query("reveal", "show addresses as they are; it is logged", {"type": "boolean", "default": False})
    return {**operation, "parameters": [named, reveal]}


def _replay() -> dict[str, Any]:
    ok = answer("Sent again, each in the lane that it had.", ref("FailedOutcome"), examples.REPLAYED)
    operation = _operation("replayFailed", "Send failed messages again", ok, _refused(), *_BODY_ERRORS)
    shown = body(ref("ReplaySelection"), by_reason=examples.BY_REASON, by_id=examples.BY_ID)
    return {**operation, "requestBody": shown}


def _discard() -> dict[str, Any]:
    ok = answer("Deleted for good.", ref("FailedOutcome"), examples.DISCARDED)
    operation = _operation("discardFailed", "Delete failed messages", ok, _refused(), *_BODY_ERRORS)
    return {**operation, "requestBody": body(ref("Selection"), old=examples.OLD, dry_run=examples.DRY_RUN)}


def _operation(
    name: str, summary: str, ok: dict[str, Any], refused: dict[str, Any], *more_errors: int
) -> dict[str, Any]:
    return {
        "tags": ["failed"],
        "operationId": name,
        "summary": summary,
        "security": keys("operate"),
        "responses": {"200": ok, **problems(*_AUTH_ERRORS, *more_errors), **refused},
    }


def _refused() -> dict[str, Any]:
    meanings: dict[str, tuple[Problem, str]] = {
        "409": (examples.LOCKED, "Another operation on `failed.queue` is under way: one at a time."),
        "422": (examples.UNCLEAR, "It cannot be told which messages are meant; every bad field is named."),
        "503": (examples.AWAY, "The broker does not answer; the messages stay, or return, where they were."),
    }
    return {status: problem_answer(*meaning) for status, meaning in meanings.items()}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
