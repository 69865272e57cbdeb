"""Runs a real HTTP service that answers what a test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.support.run import servers

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SourceService:
    """Answers every GET with ``answer``; remembers the paths, undecoded."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/things"
        self.paths: list[str] = []
        self.answer: Answer = json_answer({})
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.raw_path)
        await self.gate.wait()
        return await self.answer(request)


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    return text_answer(json.dumps(document), status, **headers)


def text_answer(text: str, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            text=text, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


def found(record: dict[str, Any], status: int = 200) -> Answer:
    """Answers with this record under every id that is asked for."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await json_answer({**record, "id": unquote(request.raw_path.rpartition("/")[2])}, status)(request)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Answers with the first answer, then the next, and from then on with the last."""
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    """Closes the connection instead of answering."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def source_service() -> AsyncIterator[SourceService]:
    """Yields the service, listening; ends it with its connections."""
    port = servers.run_ports(1)[0]
    service = SourceService(port)
    app = web.Application()
    app.router.add_get("/{path:.*}", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield service
    finally:
        service.gate.set()
        await runner.cleanup()
