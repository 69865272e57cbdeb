"""Knows which devices of a user are connected, on all nodes, and limits their number.

::

    notify-presence:<tenant>:<user>    hash: connection -> <node>:<since, ms>; lives an hour and is renewed
    notify-node:<node>                 JSON {host, port, connections, state}; lives 30 s, written every 10 s
    channel notify-node:<node>         "kick <connection>": that connection is evicted

A connection counts while the key of its *node* exists. So a heartbeat is one command per node and not one per
connection, and all connections of a killed node are gone together after 30 s. A node has a new random name at each
start. ``connect.lua`` registers and evicts atomically, across all nodes. Before it evicts anybody it removes the
connections of nodes that do not hear their own channel: such a node was killed, and its devices are coming back.

A kick is a hint like any other message: it may be lost. So each node looks now and then for connections of its own that
are not registered any more, and registers them again; the answer tells if they are one too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
import redis

from shared.redis.batch import Batcher
from shared.redis.client import store_errors
from shared.store.values import Owner

#: How long a hash of connections lives without being renewed, and how often it is renewed, seconds.
LIFE_S, RENEWED_EVERY_S = 3600, 1200
#: How long a node counts as alive after a heartbeat, and how often it writes one, seconds.
NODE_LIFE_S, BEAT_S = 30, 10
NODE_PREFIX = "notify-node:"
PRESENCE_PREFIX = "notify-presence:"
KICK = b"kick "

_CONNECT = (Path(__file__).parent / "connect.lua").read_text()
_HELD = """
local answers = {}
for i, key in ipairs(KEYS) do
  answers[i] = redis.pcall('HEXISTS', key, ARGV[i])
end
return answers
"""
_DISCONNECT = """
local answers = {}
for i, key in ipairs(KEYS) do
  answers[i] = redis.pcall('HDEL', key, ARGV[i])
end
return answers
"""


class Registered(NamedTuple):
    """Says what became of a registration: how many connections the user has, and whether this one is one too many.

    ``since_ms`` is the time of its first registration by Redis' clock; name it when you register it again.
    """

    connections: int
    evicted: bool
    since_ms: int


class Connected(NamedTuple):
    """Describes one connection of a user."""

    connection: str
    node: str
    since_ms: int


class Presence:
    """Registers the connections of one node. Every method raises RedisUnavailable, and may be called again."""

    def __init__(self, batcher: Batcher, node: str, per_user: int) -> None:
        self.node = node
        self._redis = batcher
        self._connect = batcher.script(_CONNECT, node.encode(), b"%d" % per_user, b"%d" % LIFE_S)
        self._held = batcher.script(_HELD)
        self._disconnect = batcher.script(_DISCONNECT)

    async def connect(self, owner: Owner, connection: str, since_ms: int | None = None) -> Registered:
        """Registers a connection, and evicts the oldest ones of its user above the limit, on any node."""
        since = b"" if since_ms is None else b"%d" % since_ms
        count, evicted, at_ms = await self._connect.call(_key(owner), connection.encode(), since)
        return Registered(count, evicted == 1, at_ms)

    async def held(self, owner: Owner, connection: str) -> bool:
        """Tells whether the connection is registered."""
        return bool(await self._held.call(_key(owner), connection.encode()))

    async def disconnect(self, owner: Owner, connection: str) -> None:
        """Removes a connection that has ended."""
        await self._disconnect.call(_key(owner), connection.encode())

    async def beat(self, state: Mapping[str, Any]) -> bool:
        """Writes the heartbeat of this node. Returns False if there was none: others may have dropped its entries."""
        before = await self._redis.command(
            "SET", NODE_PREFIX + self.node, orjson.dumps(state), "EX", str(NODE_LIFE_S), "GET"
        )
        return before is not None

    async def leave(self) -> None:
        """Removes this node: all its connections are gone at once."""
        await self._redis.command("DEL", NODE_PREFIX + self.node)


class PresenceReader:
    """Reads who is connected, from threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def connected(self, owner: Owner) -> list[Connected]:
        """Returns the connections of a user, oldest first. Raises RedisUnavailable."""
        with store_errors():
            entries = cast(dict[bytes, bytes], self._client.hgetall(_key(owner)))
            found = [one for one in (_entry(*pair) for pair in entries.items()) if one is not None]
            alive = self._living({one.node for one in found})
        return sorted((one for one in found if one.node in alive), key=lambda one: one.since_ms)

    def _living(self, nodes: Iterable[str]) -> set[str]:
        names = list(nodes)
        if not names:
            return set()
        states = self._client.mget([NODE_PREFIX + name for name in names])
        return {name for name, state in zip(names, states, strict=True) if state is not None}


def node_channel(node: str) -> bytes:
    """Returns the Redis channel on which a node is told whom to evict."""
    return (NODE_PREFIX + node).encode()


def kicked(message: bytes) -> str | None:
    """Returns the connection that a message on ``node_channel`` evicts; None if it says something else."""
    return message.removeprefix(KICK).decode("ascii", "replace") if message.startswith(KICK) else None


def _key(owner: Owner) -> bytes:
    return f"{PRESENCE_PREFIX}{owner.tenant}:{owner.user_id}".encode()


def _entry(connection: bytes, value: bytes) -> Connected | None:
    node, _, since = value.decode("ascii", "replace").partition(":")
    if not since.isdigit():
        return None
    return Connected(connection.decode("ascii", "replace"), node, int(since))
