"""Builds RFC 9457 problem documents, in the shape that the rest of the project uses."""

from http import HTTPStatus

import orjson
from aiohttp import web


def problem(status: int, detail: str, errors: list[tuple[str, str]] | None = None) -> web.Response:
    """Returns the answer with a problem document; ``errors`` are (field, detail) pairs."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error",
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = [{"field": field, "detail": text} for field, text in errors]
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/problem+json")
