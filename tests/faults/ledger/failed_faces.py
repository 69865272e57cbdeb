"""Uses failed.queue as operators do, over HTTP and by command, and counts its messages."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson

from ops.place import ROOT
from shared.broker.topology import FAILED_QUEUE
from tests.faults.harness.system import System
from tests.support.waiting import eventually_async

#: limit of a command, seconds
COMMAND_S = 60.0


async def dead_lettered(system: System) -> int:
    """Returns the number of messages in failed.queue, by the broker's own count (half a second old at most)."""
    queues = await asyncio.to_thread(system.broker.list_queues, system.vhost)
    return queues[FAILED_QUEUE].messages if FAILED_QUEUE in queues else 0


async def all_buried(system: System, count: int, deadline_s: float = 40.0) -> None:
    """Waits until failed.queue holds exactly ``count`` messages."""

    async def reached() -> bool:
        return await dead_lettered(system) == count

    try:
        await eventually_async(reached, deadline_s, 0.1)
    except AssertionError as exc:
        raise AssertionError(f"{await dead_lettered(system)} in failed.queue, {count} expected") from exc


async def listed(system: System, gateway: int = 0) -> tuple[int, dict[str, Any]]:
    """Calls ``GET /failed``. Returns status and document."""
    url = f"http://127.0.0.1:{system.gateways[gateway].port}/failed?limit=1000"
    async with system.http.get(url) as answer:
        return answer.status, await answer.json(content_type=None)


async def replayed_over_http(system: System, **selection: Any) -> dict[str, Any]:
    """Calls ``POST /failed/replay``. Raises AssertionError unless it was carried out."""
    url = f"http://127.0.0.1:{system.gateways[0].port}/failed/replay"
    async with system.http.post(url, json=selection) as answer:
        document: dict[str, Any] = await answer.json(content_type=None)
        assert answer.status == 200, f"POST /failed/replay {selection}: {answer.status} {document}"
        return document


async def replayed_by_command(system: System, *words: str) -> dict[str, Any]:
    """Runs ``./notify failed replay WORDS``. Raises AssertionError unless it was carried out."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "failed", "replay", "--json", *words),
        env={**system.variables, "NOTIFY_LOCAL_DIR": str(system.directory)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_S):
            said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"./notify failed replay {words}: {process.returncode} {complaint.decode()}"
    document: dict[str, Any] = orjson.loads(said)
    return document
