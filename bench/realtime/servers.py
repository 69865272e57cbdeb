"""Starts the servers of devices that are compared: the product's node, and the same written with three libraries."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from bench import venv
from bench.arena import Arena
from bench.contestants import ours
from bench.contestants.peers import addresses
from bench.processes import Child, listens, wait_until
from shared.realtime.tokens import Tokens
from shared.settings.groups.sockets import TokenKey

#: Devices of one user at most: the largest number that a contestant is given.
DEVICES_PER_USER = 500
_START_S = 60.0
_TOKEN_LIFE_S = 3600


@dataclass(frozen=True)
class Guests:
    """Lets devices in, with tokens that are signed with a key of this run."""

    key: TokenKey

    @classmethod
    def of_this_run(cls) -> "Guests":
        return cls(TokenKey(kid="bench", secret=SecretStr(secrets.token_hex(32))))

    def paths(self, user_ids: Sequence[str]) -> list[str]:
        """Returns where a device of each user connects; the peers do not look at the token."""
        tokens = Tokens([self.key])
        return [f"/ws?user_id={user}&token={tokens.sign(user, life_s=_TOKEN_LIFE_S).text}" for user in user_ids]


@dataclass(frozen=True)
class Server:
    """Is a server to which devices connect; a device is ready when it has read ``greetings`` text frames."""

    name: str
    greetings: int
    start: Callable[[Arena, Guests, str], Child]


def node(arena: Arena, guests: Guests, database_url: str, role: str = "sockets") -> Child:
    """Starts the product's process of the websocket channel, the half that serves devices or both."""
    child = ours.start_websocket(
        arena,
        {
            "DATABASE_URL": database_url,
            "WEBSOCKET_ROLE": role,
            "SOCKET_TOKEN_KEYS": f"{guests.key.kid}:{guests.key.secret.get_secret_value()}",
            "SOCKETS_PER_USER": str(DEVICES_PER_USER),
            # A process is ended when its devices are gone.
            "DRAIN_S": "0",
        },
    )
    return _listening(arena, child)


def _peer(module: str, arena: Arena, guests: Guests, database_url: str) -> Child:
    argv: list[str | Path] = [venv.program("python"), "-m", f"bench.peers.{module}", str(arena.ports.sockets)]
    return _listening(arena, Child(module, argv, arena.log(module), addresses(arena)))


def _listening(arena: Arena, child: Child) -> Child:
    try:
        wait_until(lambda: listens(arena.ports.sockets), f"{child.name} listens", _START_S, [child])
    except BaseException:
        child.stop()
        raise
    return child


#: A node greets with ``welcome`` and ``missed_notifications``.
OURS = Server("ours", 2, node)
SERVERS = [
    OURS,
    Server("websockets", 1, partial(_peer, "websockets_node")),
    Server("aiohttp", 1, partial(_peer, "aiohttp_node")),
    Server("picows", 1, partial(_peer, "picows_node")),
]
