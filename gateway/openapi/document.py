"""The document itself: paths, answers, errors."""

from __future__ import annotations

from typing import Any

from gateway.accept.batch import MAX_BATCH_ITEMS
from gateway.openapi import examples
from gateway.openapi.failed import failed_paths
from gateway.openapi.pieces import RETRY_AFTER, answer, body, keys, problem_answer, problem_name, problems
from gateway.openapi.schemas import ref, schemas
from shared import version

_REPLAYED = {
    "Idempotent-Replayed": {
        "description": "`true` if an earlier request with the same body was accepted",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_MEANINGS = {
    400: "Not JSON as every reader would read it: syntax, NaN, a number out of range, a duplicate key, a lone "
    "surrogate, nested deeper than 32 levels. The key is named if there is one.",
    401: "No key, or an unknown one.",
    403: "The key does not have the scope.",
    409: "A copy of this request is being worked on in this moment.",
    413: "Too large: 64 KiB, a batch 4 MiB.",
    415: "Not `application/json`.",
    422: "Refused, with every bad field named; or the request_id was used for another notification.",
    503: "Not confirmed by the broker. The same request may be sent again.",
}
_SEND_ERRORS = (400, 401, 403, 413, 415, 422, 503)


def openapi_document(*, keys_needed: bool = False) -> dict[str, Any]:
    """OpenAPI 3.1. ``keys_needed``: of a gateway that has API_KEYS; one without asks nobody for a key."""
    document = _document()
    if keys_needed:
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["security"] = [way for way in operation["security"] if way]
    return document


def _document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Notifications",
            "version": version(),
            "description": "202 means stored: the broker has confirmed the notification to a quorum queue. "
            "Anything else may be sent again with the same `request_id`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [
            {"name": "notifications", "description": "Accept notifications for delivery"},
            {"name": "operation", "description": "For orchestrators and monitoring; no key is asked for"},
            {"name": "failed", "description": "What could not be delivered; for operators"},
        ],
        "paths": {
            "/notifications": {"post": _accept()},
            "/notifications/batch": {"post": _accept_batch()},
            "/health": {"get": _health()},
            "/health/live": {"get": _live()},
            "/health/ready": {"get": _ready()},
            "/metrics": {"get": _metrics()},
            **failed_paths(),
        },
        "components": {
            "schemas": schemas(),
            "responses": {
                problem_name(status): problem_answer(examples.PROBLEMS[status], meaning)
                for status, meaning in _MEANINGS.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _accept() -> dict[str, Any]:
    return {
        "tags": ["notifications"],
        "operationId": "accept",
        "summary": "Accept one notification",
        "security": keys("send"),
        "requestBody": body(
            ref("Envelope"),
            push=examples.PUSH,
            email=examples.EMAIL,
            sms=examples.SMS,
            several_channels=examples.SEVERAL,
        ),
        "responses": {
            "202": answer("Stored.", ref("AcceptedAnswer"), examples.ACCEPTED, _REPLAYED),
            **problems(*_SEND_ERRORS, 409),
        },
    }


def _accept_batch() -> dict[str, Any]:
    batch = {"type": "array", "items": ref("Envelope"), "minItems": 1, "maxItems": MAX_BATCH_ITEMS}
    return {
        "tags": ["notifications"],
        "operationId": "acceptBatch",
        "summary": "Accept many notifications, each with a verdict of its own",
        "security": keys("send"),
        "requestBody": body(batch, three=examples.BATCH),
        "responses": {
            "200": answer("A verdict on each item.", ref("BatchAnswer"), examples.BATCH_ANSWER),
            **problems(*(status for status in _SEND_ERRORS if status != 503)),
            "503": answer(
                "At least one item was not confirmed by the broker; each item says for itself.",
                ref("BatchAnswer"),
                examples.BATCH_UNAVAILABLE,
                RETRY_AFTER,
            ),
        },
    }


def _health() -> dict[str, Any]:
    return _operation(
        "health",
        "How the whole system is",
        answer("Healthy or degraded.", ref("HealthAnswer"), examples.health("healthy", "up")),
        answer("Unhealthy.", ref("HealthAnswer"), examples.health("unhealthy", "down"), RETRY_AFTER),
    )


def _live() -> dict[str, Any]:
    return _operation("live", "Whether this process lives", answer("Yes.", ref("LiveAnswer"), {"status": "live"}))


def _ready() -> dict[str, Any]:
    return _operation(
        "ready",
        "Whether this process can publish",
        answer("Yes.", ref("ReadyAnswer"), {"status": "ready", "broker": "up"}),
        answer("No.", ref("ReadyAnswer"), {"status": "unready", "broker": "down"}, RETRY_AFTER),
    )


def _metrics() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}}
    return _operation("metrics", "Prometheus metrics", {"description": "The text format.", "content": text})


def _operation(
    name: str, summary: str, ok: dict[str, Any], unavailable: dict[str, Any] | None = None
) -> dict[str, Any]:
    responses = {"200": ok} if unavailable is None else {"200": ok, "503": unavailable}
    return {"tags": ["operation"], "operationId": name, "summary": summary, "security": [], "responses": responses}
