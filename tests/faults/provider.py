"""The stand-in vendors in a process of their own, so that their pace is not the test's."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from ops.servers import free_ports
from tests.waiting import eventually_async


class Vendors:
    """What the sandbox has accepted, asked over HTTP."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.port = port
        self._http = http

    async def accepted_calls(self) -> int:
        """Calls accepted so far, doubles included."""
        return int((await self._get("?limit=0"))["count"])

    async def accepted(self) -> Counter[str]:
        """request_id -> how often it was accepted."""
        return Counter(delivery["request_id"] for delivery in (await self._get(""))["deliveries"])

    async def slow(self, delay_ms: int) -> None:
        """Take so long for each answer from now on."""
        fault = {"mode": "slow", "delay_ms": delay_ms}
        async with self._http.put(f"http://127.0.0.1:{self.port}/sandbox/faults/fcm", json=fault) as answer:
            answer.raise_for_status()

    async def is_up(self) -> bool:
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def _get(self, query: str) -> Any:
        async with self._http.get(f"http://127.0.0.1:{self.port}/sandbox/deliveries{query}") as answer:
            return await answer.json()


@asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    """Run the sandbox until the block ends."""
    port, smtp_port = free_ports(2)
    environment = {**os.environ, "SANDBOX_PORT": str(port), "SANDBOX_SMTP_PORT": str(smtp_port)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sandbox", env=environment)
    try:
        async with aiohttp.ClientSession() as http:
            running = Vendors(port, http)
            await eventually_async(running.is_up)
            yield running
    finally:
        process.terminate()
        await process.wait()
