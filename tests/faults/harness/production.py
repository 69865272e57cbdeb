"""Starts a worker in production mode on servers that are not fit for it."""

from __future__ import annotations

import asyncio
import sys

from tests.faults.harness.system import System
from tests.support.run.servers import run_ports

#: a worker that refuses to start says so within this time, seconds
START_S = 20.0


async def refused_in_production(system: System) -> str:
    """Starts a worker that must refuse to start and exit with 2. Returns its output. Raises AssertionError if it
    starts.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.sms"),
        env={**system.variables, "NOTIFY_ENV": "production", "SMS_PORT": str(run_ports(1)[0])},
        cwd=system.directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(START_S):
            said, _ = await process.communicate()
    except TimeoutError as exc:
        raise AssertionError("a worker runs in production on a server that is not fit for it") from exc
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 2, f"exit code {process.returncode}: {said.decode()}"
    return said.decode()
