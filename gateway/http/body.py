"""Reads request bodies up to a size limit, regardless of the length that the client announces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Request

from gateway.connections.progress import REQUEST, TooManyReaders
from gateway.http.problem import RETRY_SOON_S, Problem, unavailable
from gateway.http.strict_json import BadJson, parse_json

_JSON = "application/json"
#: More digits than any limit has; int() refuses thousands of digits.
_LENGTH_DIGITS = 18


def read_json(request: Request, most_bytes: int) -> Any:
    """Returns the decoded body. Raises Problem 415, 413, 503 or 400."""
    try:
        return parse_json(read_body(request, most_bytes))
    except BadJson as exc:
        raise Problem(400, exc.detail, [(exc.field, exc.detail)] if exc.field else ()) from exc


def read_body(request: Request, most_bytes: int) -> bytes:
    """Returns the body of a request whose type must be JSON. Raises Problem 415, 413, 400 or 503."""
    environ = request.environ
    # A missing type is refused too: without that site's consent, a web page may send another site a request without a
    # type, but not one with this type.
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != _JSON:
        raise Problem(415, f"the body must be {_JSON}")
    if "HTTP_CONTENT_ENCODING" in environ:
        raise Problem(415, "a Content-Encoding is not supported")
    progress = environ[REQUEST]
    try:
        progress.start_reading()
    except TooManyReaders:
        raise unavailable("too many bodies are being read; sending it again is safe", RETRY_SOON_S) from None
    try:
        return _read(environ, most_bytes)
    finally:
        progress.stop_reading()


def _read(environ: Mapping[str, Any], most_bytes: int) -> bytes:
    announced = _announced_bytes(environ)
    if announced is None:
        # The body is chunked: one byte beyond the limit distinguishes a body that is too long from one that fits.
        body = _read_up_to(most_bytes + 1, environ["wsgi.input"])
    else:
        body = _read_up_to(announced, environ["wsgi.input"]) if announced <= most_bytes else b""
    if max(announced or 0, len(body)) > most_bytes:
        raise Problem(413, f"the body is larger than {most_bytes} bytes")
    if len(body) < (announced or 0):
        raise Problem(400, "the body is shorter than its Content-Length")
    return body


def _announced_bytes(environ: Mapping[str, Any]) -> int | None:
    """Returns the Content-Length, or None if there is none, or if the request is chunked and it means nothing."""
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
