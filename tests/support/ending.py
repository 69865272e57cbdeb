"""Ends what runs in an event loop of a thread, before the loop is closed."""

from __future__ import annotations

import asyncio
from typing import Any


async def end_everything() -> None:
    """Ends the tasks of this loop, and closes the sockets of its transports.

    A peer may have opened a connection at the very end, of which no server knows any more.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop: Any = asyncio.get_running_loop()
    for transport in list(loop._transports.values()):
        transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)
