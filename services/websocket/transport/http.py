"""Answers what is not a WebSocket: server-sent events, long polls, health and metrics.

Each connection serves one request. aiohttp limits neither how long a second head may take nor how many connections wait
for one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import Counter

from services.websocket.door import Guest, credential_of
from services.websocket.parts import CLOSING_S, Parts
from services.websocket.reads import after_ms
from services.websocket.transport import poll, sse
from services.websocket.transport.positions import position_from, position_in
from shared.errors import RedisUnavailable
from shared.realtime.close_codes import WRONG_USER
from shared.realtime.tokens import TokenRefused
from shared.store.values import Position

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, Last-Event-ID, Cache-Control",
    "Access-Control-Max-Age": "600",
}


class _Complaints(logging.LoggerAdapter[logging.Logger]):
    """Takes what aiohttp says. What is no HTTP is answered 400 and counted; its text may quote a token of the URL."""

    def __init__(self, refused: Counter) -> None:
        super().__init__(logging.getLogger("aiohttp.server"))
        self._refused = refused

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        if not self._is_no_http(exc_info):
            super().exception(msg, *args, exc_info=exc_info, **more)

    def debug(self, msg: object, *args: object, exc_info: Any = None, **more: Any) -> None:
        self._is_no_http(exc_info)

    def _is_no_http(self, error: object) -> bool:
        if isinstance(error, HttpProcessingError):
            self._refused.labels("400").inc()
        return isinstance(error, HttpProcessingError)


class Http:
    """Answers requests. ``health`` returns the document; its ``status`` and ``state`` decide about the HTTP status."""

    def __init__(self, parts: Parts, health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]) -> None:
        self._parts = parts
        self._health, self._metrics = health, metrics
        #: cancels a handler as soon as its device has gone
        self.server: web.Server = web.Server(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=0,
            lingering_time=CLOSING_S,
            logger=_Complaints(parts.metrics.refused),
        )
        self._routes: dict[str, Callable[[web.BaseRequest, dict[str, str]], Awaitable[web.StreamResponse]]] = {
            "/sse": self._sse,
            "/poll": self._poll,
            "/health": self._get_health,
            "/health/live": self._get_live,
            "/health/ready": self._get_ready,
            "/metrics": self._get_metrics,
        }

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._response(request)
        if response.status >= 400:
            self._parts.metrics.refused.labels(str(response.status)).inc()
        return response

    async def _response(self, request: web.BaseRequest) -> web.StreamResponse:
        origins = request.headers.getall("Origin", [])
        cors = {"Vary": "Origin"}
        if len(origins) > 1 or not self._parts.door.allows(origins[0] if origins else None):
            return _refusal(403, "origin", "pages of this origin may not connect; see SOCKET_ORIGINS", cors)
        if origins:
            # A page sees no other header than these: without it, nobody would wait as long as is asked for.
            cors |= {"Access-Control-Allow-Origin": origins[0], "Access-Control-Expose-Headers": "Retry-After"}
        route = self._routes.get(request.path)
        if request.method == "OPTIONS" and route is not None:
            return _closing(web.Response(status=204, headers={**cors, **_PREFLIGHT}))
        if route is None:
            if request.path.startswith("/ws"):
                return _refusal(426, "upgrade", "this is for WebSockets", {**cors, "Upgrade": "websocket"})
            return _refusal(404, "not_found", "there are /ws, /sse, /poll and /health", cors)
        if request.method != "GET" and (request.method != "HEAD" or request.path in ("/sse", "/poll")):
            return _refusal(405, "method", "use GET", {**cors, "Allow": "GET"})
        return await route(request, cors)

    async def _sse(self, request: web.BaseRequest, cors: dict[str, str]) -> web.StreamResponse:
        guest = await self._admitted(request, cors)
        if not isinstance(guest, Guest):
            return guest
        # What a browser has read last is newer than what the page named when it opened the stream.
        last = request.headers.get("Last-Event-ID")
        position = position_from(last) if last else position_in(request.query)
        return await sse.serve(request, self._parts, guest, position, cors)

    async def _poll(self, request: web.BaseRequest, cors: dict[str, str]) -> web.StreamResponse:
        try:
            wait_s = float(request.query.get("wait", "0"))
        except ValueError:
            wait_s = math.nan
        if not 0 <= wait_s <= poll.MOST_WAIT_S:
            return _refusal(422, "invalid", f"wait must be 0 to {poll.MOST_WAIT_S:g} seconds", cors)
        guest = await self._admitted(request, cors)
        if not isinstance(guest, Guest):
            return guest
        position: Position | None = position_in(request.query)
        try:
            pull = await poll.Poll().wait(self._parts, guest, position, wait_s)
        except poll.SentAway as exc:
            after_s = math.ceil((exc.after_ms or 1000) / 1000)
            return _refusal(503, exc.code.reason, "try again later", {**cors, "Retry-After": str(after_s)})
        return _json(200, poll.answer_of(pull), {**cors, "Cache-Control": "no-store"})

    async def _admitted(self, request: web.BaseRequest, cors: dict[str, str]) -> Guest | web.Response:
        """Returns who the device is, or the answer that refuses it."""
        parts = self._parts
        retry = {**cors, "Retry-After": str(after_ms() // 1000)}
        if parts.hub.overloaded:
            return _refusal(503, "overloaded", "too many devices connect at once", retry)
        query = request.query
        try:
            return await parts.door.admit(
                credential_of(request.headers.get("Authorization"), query), query.get("user_id")
            )
        except TokenRefused as exc:
            status = 403 if exc.close is WRONG_USER else 401
            return _refusal(status, exc.close.reason, str(exc), {**cors, "WWW-Authenticate": "Bearer"})
        except RedisUnavailable:
            return _refusal(503, "overloaded", "tickets cannot be read now", retry)

    async def _get_health(self, _request: web.BaseRequest, cors: dict[str, str]) -> web.Response:
        document = self._health()
        return _json(503 if document["status"] == "unhealthy" else 200, orjson.dumps(document), cors)

    async def _get_live(self, _request: web.BaseRequest, cors: dict[str, str]) -> web.Response:
        return _json(200, b'{"status":"alive"}', cors)

    async def _get_ready(self, _request: web.BaseRequest, cors: dict[str, str]) -> web.Response:
        document = self._health()
        ready = document["status"] != "unhealthy" and document["state"] == "open"
        status = "ready" if ready else "unready"
        return _json(200 if ready else 503, orjson.dumps({"status": status, "state": document["state"]}), cors)

    async def _get_metrics(self, _request: web.BaseRequest, cors: dict[str, str]) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return _closing(web.Response(body=self._metrics(), headers={**cors, "Content-Type": content_type}))


def _refusal(status: int, code: str, detail: str, headers: Mapping[str, str]) -> web.Response:
    return _json(status, orjson.dumps({"code": code, "detail": detail}), headers)


def _json(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    return _closing(web.Response(status=status, body=body, content_type="application/json", headers=headers))


def _closing(response: web.Response) -> web.Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.force_close()
    return response
