"""Reading request bodies: bounded, whatever the client announces."""

from __future__ import annotations

from typing import Any

from flask import Request

from gateway.problem import Problem
from gateway.strict_json import MAX_DEPTH, BadJson, parse_json

_JSON = "application/json"


def read_json(request: Request, most_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The decoded body. Raises Problem 415, 413 or 400."""
    # Strict also when the type is missing: a web page may send that, but not this, to another site without its leave.
    if request.mimetype != _JSON:
        raise Problem(415, f"the body must be {_JSON}")
    if request.content_encoding:
        raise Problem(415, f"Content-Encoding {request.content_encoding!r} is not supported")
    try:
        return parse_json(_read(request, most_bytes), max_depth)
    except BadJson as exc:
        raise Problem(400, exc.detail, [(exc.field, exc.detail)] if exc.field else ()) from exc


def _read(request: Request, most_bytes: int) -> bytes:
    too_large = Problem(413, f"the body is larger than {most_bytes} bytes")
    if (request.content_length or 0) > most_bytes:
        raise too_large
    # A chunked body announces no length; one byte beyond the limit tells a long one from a cut one.
    source = request.environ["wsgi.input"]
    chunks: list[bytes] = []
    room = most_bytes + 1 if request.content_length is None else request.content_length
    while room > 0 and (chunk := source.read(room)):
        chunks.append(chunk)
        room -= len(chunk)
    body = b"".join(chunks)
    if len(body) > most_bytes:
        raise too_large
    if len(body) < (request.content_length or 0):
        raise Problem(400, "the body ended before its Content-Length")
    return body
