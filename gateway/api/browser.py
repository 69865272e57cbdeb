"""Serves what runs in browsers: ``/notify-inbox.js``, which any page may load, and the demo page ``/demo``."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, jsonify, redirect, request, send_from_directory, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.settings.settings import Settings

_STATIC = Path(__file__).parents[1] / "static"
#: A browser asks again after this time, and gets the file only if it has changed.
_KEEP_S = 300


def register_browser(app: Flask, settings: Settings) -> None:
    """Serves the module, and the demo page if it is on."""
    blueprint = Blueprint("browser", __name__)

    @blueprint.get("/notify-inbox.js")
    def module() -> Response:
        answer = send_from_directory(_STATIC / "inbox", "notify-inbox.js", max_age=_KEEP_S)
        # Pages of every origin may load it: it holds no data. A browser loads modules of other origins only with this.
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        answer.vary.add("Accept-Encoding")
        if answer.status_code == 200 and request.accept_encodings["gzip"]:
            _compress(answer)
        return answer

    if settings.demo_page:
        _register_demo(blueprint, settings)
    app.register_blueprint(blueprint)


def _compress(answer: Response) -> None:
    """Compresses what is sent: every page of every user loads it, and it shrinks to a quarter."""
    answer.direct_passthrough = False
    answer.set_data(_compressed(answer.get_data()))
    answer.headers["Content-Encoding"] = "gzip"
    # Two forms of one file: its tag means the content, not the bytes.
    tag, _ = answer.get_etag()
    answer.set_etag(str(tag), weak=True)


@lru_cache(maxsize=1)
def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _register_demo(blueprint: Blueprint, settings: Settings) -> None:
    port = settings.sockets.port

    @blueprint.get("/demo")
    def without_slash() -> AnyResponse:
        return redirect(url_for("browser.demo"))

    @blueprint.get("/demo/")
    def demo() -> Response:
        answer = send_from_directory(_STATIC / "demo", "index.html")
        answer.headers["Content-Security-Policy"] = _policy(port)
        return answer

    @blueprint.get("/demo/settings.json")
    def demo_settings() -> Response:
        return jsonify({"socket_port": port, "token_required": settings.socket_auth == "required"})

    @blueprint.get("/demo/<path:name>")
    def demo_file(name: str) -> Response:
        return send_from_directory(_STATIC / "demo", name)


def _policy(port: int) -> str:
    """Returns the page's Content-Security-Policy: it loads and calls only this gateway, and the sockets beside it."""
    host = urlsplit(f"//{request.host}").hostname or "localhost"
    name = f"[{host}]" if ":" in host else host
    sockets = " ".join(f"{scheme}://{name}:{port}" for scheme in ("ws", "http", "wss", "https"))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {sockets}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
