"""Writes answers. Every JSON answer is a pydantic model, and the OpenAPI document describes the same model."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

JSON = "application/json"


class AnswerModel(BaseModel):
    """Is the base of the gateway's own answers: an answer has the documented fields and no others."""

    model_config = ConfigDict(extra="forbid")


def json_answer(
    document: BaseModel | bytes, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """Returns ``document``, a model or JSON that is already written, as a response."""
    return Response(
        document if isinstance(document, bytes) else to_json(document), status, headers, content_type=media_type
    )
