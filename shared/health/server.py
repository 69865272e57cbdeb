"""Serves a worker's HTTP routes: ``/health`` for orchestrators, ``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from shared.errors import BadSettings
from shared.metrics import Metrics


class WorkerHttp:
    """Answers HTTP requests. ``health`` returns the document; its ``status`` decides between 200 and 503."""

    def __init__(
        self, host: str, port: int, setting: str, health: Callable[[], dict[str, Any]], metrics: Metrics
    ) -> None:
        self._host, self._port, self._setting = host, port, setting
        self._health, self._metrics = health, metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Starts to listen. Raises BadSettings that names the port's setting if it cannot."""
        app = web.Application()
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/metrics", self._get_metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as exc:
            await self._runner.cleanup()
            raise BadSettings([(self._setting, f"cannot listen on port {self._port}: {exc.strerror}")]) from exc

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_health(self, _request: web.Request) -> web.Response:
        document = self._health()
        status = 503 if document["status"] == "unhealthy" else 200
        return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})
