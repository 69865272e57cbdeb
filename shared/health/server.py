"""Serves a worker's HTTP routes: ``/health`` for orchestrators, ``/metrics`` for Prometheus.

aiohttp limits neither how long a head may take nor the number of connections. So each connection here serves one
request and ends after LIFE_S at the latest, and a connection too many takes the place of the oldest: one that brings no
request cannot keep out a probe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from shared.errors import BadSettings
from shared.metrics import Metrics

#: The longest life of a connection, in seconds. An answer takes milliseconds.
LIFE_S = 5.0
MOST_CONNECTIONS = 32


class WorkerHttp:
    """Answers HTTP requests. ``health`` returns the document; its ``status`` decides between 200 and 503."""

    def __init__(
        self, host: str, port: int, setting: str, health: Callable[[], dict[str, Any]], metrics: Metrics
    ) -> None:
        self._host, self._port, self._setting = host, port, setting
        self._health, self._metrics = health, metrics
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        #: the latest connections, in the order in which they came; some have ended already
        self._latest: deque[web.RequestHandler] = deque()

    async def start(self) -> None:
        """Starts to listen. Raises BadSettings that names the port's setting if it cannot."""
        app = web.Application(client_max_size=1)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/metrics", self._get_metrics)
        app.on_response_prepare.append(_close_after)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._connection, self._host, self._port, reuse_address=True)
        except OSError as exc:
            await self._runner.cleanup()
            raise BadSettings([(self._setting, f"cannot listen on port {self._port}: {exc.strerror}")]) from exc

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _connection(self) -> web.RequestHandler:
        """Returns the protocol of a new connection."""
        server = self._runner.server if self._runner is not None else None
        if server is None:
            raise RuntimeError("call start() first")
        protocol = server()
        self._latest.append(protocol)
        if len(self._latest) > MOST_CONNECTIONS:
            _cut(self._latest.popleft())
        asyncio.get_running_loop().call_later(LIFE_S, _cut, protocol)
        return protocol

    async def _get_health(self, _request: web.Request) -> web.Response:
        document = self._health()
        status = 503 if document["status"] == "unhealthy" else 200
        return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})


async def _close_after(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Connection"] = "close"
    response.force_close()


def _cut(protocol: web.RequestHandler) -> None:
    # The first call is for a connection that is not made yet.
    protocol.force_close()
    if protocol.transport is not None:
        protocol.transport.abort()
