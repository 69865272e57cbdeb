"""The pieces of which every operation in the document is made."""

from __future__ import annotations

from typing import Any

from gateway.api.answers import JSON, PROBLEM_JSON
from gateway.http.problem import Problem
from gateway.openapi.schemas import ref

RETRY_AFTER = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "how to authenticate", "schema": {"type": "string"}}}
_HEADERS: dict[int, dict[str, Any]] = {401: _CHALLENGE, 409: RETRY_AFTER, 503: RETRY_AFTER}


def keys(scope: str) -> list[dict[str, list[str]]]:
    """Either form of the key; {} for a gateway without API_KEYS (development), which asks for none."""
    return [{"bearer": [scope]}, {"header": [scope]}, {}]


def body(schema: dict[str, Any], **shown: Any) -> dict[str, Any]:
    values = {name: {"value": value} for name, value in shown.items()}
    return {"required": True, "content": {JSON: {"schema": schema, "examples": values}}}


def answer(
    description: str, schema: dict[str, Any], example: Any, headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    answer = {"description": description, "content": {JSON: {"schema": schema, "example": example}}}
    return {**answer, "headers": headers} if headers else answer


def problems(*statuses: int) -> dict[str, Any]:
    """Those that mean the same everywhere."""
    return {str(status): {"$ref": f"#/components/responses/{problem_name(status)}"} for status in sorted(statuses)}


def problem_answer(example: Problem, meaning: str) -> dict[str, Any]:
    content = {PROBLEM_JSON: {"schema": ref("ProblemDocument"), "example": example.document()}}
    headers = _HEADERS.get(example.status)
    answer = {"description": meaning, "content": content}
    return {**answer, "headers": headers} if headers else answer


def problem_name(status: int) -> str:
    return f"Problem{status}"
