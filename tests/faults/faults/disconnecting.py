"""The broker closes one connection of one process, as it does when it hears nothing of it for too long."""

from __future__ import annotations

import asyncio

from ops.servers.management import Management
from tests.faults.harness.member import Member
from tests.support.waiting import eventually_async


async def close_consuming(management: Management, vhost: str, worker: Member) -> None:
    """Close the connection on which ``worker`` consumes: what it has in hand returns to its queues, its publishing
    connection stays. Raises AssertionError if the broker does not know one.
    """
    await close(management, await consuming(management, vhost, worker))


async def close(management: Management, connection: str) -> None:
    """At once, by the broker's name for it."""
    await asyncio.to_thread(management.close_connection, connection, "two heartbeats missed")


async def consuming(management: Management, vhost: str, worker: Member) -> str:
    """The broker's name for the connection on which ``worker`` consumes. It knows one only some 5 s after its start.

    Raises AssertionError if it knows none within 10 s.
    """

    def found() -> list[str]:
        # A worker's connection is called <channel>@<host>:<pid>; the one it publishes on has more words.
        connections = management.connections(vhost)
        return [name for client, name in connections.items() if client.endswith(f":{worker.pid}")]

    return (await eventually_async(lambda: asyncio.to_thread(found)))[0]
