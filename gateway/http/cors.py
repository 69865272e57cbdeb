"""Allows cross-origin calls from the origins in CORS_ORIGINS, and from no others."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, request

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-API-Key",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Idempotent-Replayed, Retry-After"


def allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """Lets pages of these origins call the gateway. Each origin is compared exactly; ``*`` means every origin. Cookies
    are never allowed.
    """
    if not origins:
        return
    allowed = frozenset(origins)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.vary.add("Origin")
        origin = request.headers.get("Origin", "")
        if origin in allowed or ("*" in allowed and origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
            if request.method == "OPTIONS":
                response.headers.update(_PREFLIGHT)
        return response
