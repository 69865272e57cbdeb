"""Lets the broker close one connection of one process, as it does when it has received nothing on it for too long."""

from __future__ import annotations

import asyncio

from ops.servers.management import Management
from tests.faults.harness.member import Member
from tests.support.waiting import eventually_async


async def close_consuming(management: Management, vhost: str, worker: Member) -> None:
    """Closes the connection on which ``worker`` consumes: its unacked messages return to their queues, its publishing
    connection stays.

    Raises AssertionError if the broker does not know one.
    """
    await close(management, await consuming(management, vhost, worker))


async def close(management: Management, connection: str) -> None:
    """Closes a connection at once, given the broker's name for it."""
    await asyncio.to_thread(management.close_connection, connection, "two heartbeats missed")


async def consuming(management: Management, vhost: str, worker: Member) -> str:
    """Returns the broker's name for the connection on which ``worker`` consumes. The broker knows it only about 5 s
    after the worker's start.

    Raises AssertionError if it knows none within 10 s.
    """

    def found() -> list[str]:
        # A worker's consuming connection is called <channel>@<host>:<pid>; the name of its publishing connection has
        # more words.
        connections = management.connections(vhost)
        return [name for client, name in connections.items() if client.endswith(f":{worker.pid}")]

    return (await eventually_async(lambda: asyncio.to_thread(found)))[0]
