"""Writing answers: JSON, and problem documents as their own media type."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

from gateway.http.problem import Problem

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


def json_answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, headers, content_type=JSON)


def problem_answer(problem: Problem) -> Response:
    return Response(orjson.dumps(problem.document()), problem.status, problem.headers, content_type=PROBLEM_JSON)
