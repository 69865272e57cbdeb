"""Reading request bodies: bounded, whatever the client announces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Request

from gateway.http.problem import Problem
from gateway.http.strict_json import MAX_DEPTH, BadJson, parse_json

_JSON = "application/json"
#: more than any limit; int() refuses thousands of digits
_LENGTH_DIGITS = 18


def read_json(request: Request, most_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The decoded body. Raises Problem 415, 413 or 400."""
    environ = request.environ
    # Strict also when the type is missing: a web page may send that, but not this, to another site without its leave.
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != _JSON:
        raise Problem(415, f"the body must be {_JSON}")
    if "HTTP_CONTENT_ENCODING" in environ:
        raise Problem(415, f"Content-Encoding {environ['HTTP_CONTENT_ENCODING']!r} is not supported")
    try:
        return parse_json(_read(environ, most_bytes), max_depth)
    except BadJson as exc:
        raise Problem(400, exc.detail, [(exc.field, exc.detail)] if exc.field else ()) from exc


def _read(environ: Mapping[str, Any], most_bytes: int) -> bytes:
    announced = _announced_bytes(environ)
    if announced is None:
        # Chunked: one byte beyond the limit tells a body that is too long from one that fits.
        body = _read_up_to(most_bytes + 1, environ["wsgi.input"])
    else:
        body = _read_up_to(announced, environ["wsgi.input"]) if announced <= most_bytes else b""
    if max(announced or 0, len(body)) > most_bytes:
        raise Problem(413, f"the body is larger than {most_bytes} bytes")
    if len(body) < (announced or 0):
        raise Problem(400, "the body ended before its Content-Length")
    return body


def _announced_bytes(environ: Mapping[str, Any]) -> int | None:
    """Content-Length, which means nothing in a chunked request."""
    length = environ.get("CONTENT_LENGTH") or ""
    if "HTTP_TRANSFER_ENCODING" in environ or not (length.isascii() and length.isdigit()):
        return None
    return int(length[:_LENGTH_DIGITS])


def _read_up_to(room: int, source: Any) -> bytes:
    chunks: list[bytes] = []
    while room > 0 and (chunk := source.read(room)):
        chunks.append(chunk)
        room -= len(chunk)
    return b"".join(chunks)
