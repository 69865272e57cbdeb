"""Serves ``/apidocs/``: Swagger UI from files of this package, over the OpenAPI document that flasgger serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flasgger import Swagger
from flask import Blueprint, Flask, Response, redirect, request, send_from_directory, url_for
from werkzeug.wrappers import Response as AnyResponse

OPENAPI_PATH = "/openapi.json"
_STATIC = Path(__file__).parents[1] / "static"
# The page needs nothing from other hosts, so it may load nothing from them.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def register_docs(app: Flask, spec: dict[str, Any]) -> None:
    """Serves ``spec`` and the page that shows it."""
    blueprint = Blueprint("docs", __name__)

    @blueprint.get("/apidocs/")
    def page() -> Response:
        answer = send_from_directory(_STATIC / "apidocs", "index.html")
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    @blueprint.get("/apidocs/<path:name>")
    def page_file(name: str) -> Response:
        folder = "apidocs" if name == "start.js" else "swagger-ui"
        return send_from_directory(_STATIC / folder, name, max_age=3600)

    @blueprint.get("/")
    def root() -> AnyResponse:
        return redirect(url_for("docs.page"))

    app.register_blueprint(blueprint)
    # flasgger's own page is an old Swagger UI with fonts from other hosts, so flasgger serves the document only.
    _Document(app, template=spec, merge=False, config=_flasgger(spec["openapi"]))


class _Document(Swagger):  # type: ignore[misc]
    """Serves the document, with the path under which the caller reaches this gateway: a proxy may have cut it off."""

    def get_apispecs(self, endpoint: str = "openapi") -> dict[str, Any]:
        return {**super().get_apispecs(endpoint), "servers": [{"url": request.script_root or "/"}]}


def _flasgger(version: str) -> dict[str, Any]:
    return {
        "openapi": version,
        "swagger_ui": False,
        "headers": [],
        "specs": [{"endpoint": "openapi", "route": OPENAPI_PATH, "rule_filter": lambda _rule: False}],
    }
