"""Defines the settings of the sockets: where devices connect, how they prove who they are, and how long things take."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from shared.settings.types import Count, Group, Origins, Port, Seconds, variable, words

Role = Literal["both", "consumer", "sockets"]
SocketAuth = Literal["required", "open"]

#: Shortest secret of HMAC with SHA-256 that is as strong as the hash itself, bytes.
SECRET_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class TokenKey(BaseModel):
    """Holds one secret with which tokens are signed, and its name, which stands in the head of each token."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
    kid: str
    secret: SecretStr


def _keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: list[TokenKey] = []
    for number, entry in enumerate(words(value), 1):
        kid, _, secret = entry.partition(":")
        if not _KEY_ID.fullmatch(kid) or len(secret.encode()) < SECRET_BYTES:
            raise ValueError(f"entry {number} must be name:secret, with a secret of at least {SECRET_BYTES} bytes")
        if any(key.kid == kid for key in keys):
            raise ValueError(f"entry {number} has the name of another one")
        keys.append(TokenKey(kid=kid, secret=SecretStr(secret)))
    return tuple(keys)


class SocketSettings(Group):
    """Sets up the port for sockets, server-sent events and long polls."""

    host: Annotated[str | None, variable("SOCKET_HOST")] = None
    #: the port of the first process; each further replica adds 10
    port: Annotated[Port, variable("SOCKET_PORT")] = 5055
    #: which halves of ``services.websocket`` a process runs
    role: Annotated[Role, variable("WEBSOCKET_ROLE")] = "both"
    given_auth: Annotated[SocketAuth | None, variable("SOCKET_AUTH")] = None
    #: the first one signs tokens, all of them verify
    token_keys: Annotated[tuple[TokenKey, ...], BeforeValidator(_keys), variable("SOCKET_TOKEN_KEYS")] = ()
    #: origins whose pages may connect
    origins: Annotated[Origins, variable("SOCKET_ORIGINS")] = ()
    #: most connections of one user at a time, over all nodes
    per_user: Annotated[Count, variable("SOCKETS_PER_USER")] = 5
    ping_s: Annotated[Seconds, variable("SOCKET_PING_S")] = 20
    #: how often the positions of all devices are compared with the store
    position_check_s: Annotated[Seconds, variable("POSITION_CHECK_S")] = 25
    #: over how long a stopping process closes its connections
    drain_s: Annotated[float, Field(ge=0), variable("DRAIN_S")] = 15
