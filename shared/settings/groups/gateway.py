"""Defines the settings of the gateway: who may call it, where it listens, and when it refuses."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.message.identity import CLIENT_PATTERN
from shared.settings.types import Count, Group, Port, Seconds, Words, origins, variable, words

_API_KEY = re.compile(rf"({CLIENT_PATTERN}):((?:send|operate|tokens)(?:\+(?:send|operate|tokens))*):([0-9a-f]{{64}})")


class ApiKey(BaseModel):
    """Holds one valid key of one client; only its SHA-256 is known here."""

    model_config = ConfigDict(frozen=True)
    client: str
    scopes: frozenset[str]
    sha256: str


def _keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys = []
    for number, entry in enumerate(words(value), 1):
        match = _API_KEY.fullmatch(entry)
        if match is None:
            raise ValueError(
                f"entry {number} must be client:send+operate+tokens:<sha256 hex>, with one to three of these scopes"
            )
        keys.append(ApiKey(client=match[1], scopes=frozenset(match[2].split("+")), sha256=match[3]))
    return tuple(keys)


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values, 1):
        try:
            ip_network(value, strict=False)
        except ValueError:
            raise ValueError(f"entry {number} must be an IP address or a network (10.0.0.0/8)") from None
    return values


def _origins_or_all(values: tuple[str, ...]) -> tuple[str, ...]:
    return values if values == ("*",) else origins(values)


class GatewaySettings(Group):
    """Sets up the HTTP API."""

    api_keys: Annotated[tuple[ApiKey, ...], BeforeValidator(_keys), variable("API_KEYS")] = ()
    #: origins whose pages may call; ("*",) is every origin
    cors_origins: Annotated[Words, AfterValidator(_origins_or_all), variable("CORS_ORIGINS")] = ()
    host: Annotated[str | None, variable("GATEWAY_HOST")] = None
    #: Hosts that a gateway without keys answers to, beside its own local ones; * is every Host
    open_hosts: Annotated[Words, variable("GATEWAY_OPEN_HOSTS")] = ()
    #: proxies whose X-Forwarded-Prefix is believed
    trusted_proxies: Annotated[Words, AfterValidator(_networks), variable("TRUSTED_PROXIES")] = ("127.0.0.1", "::1")
    port: Annotated[Port, variable("GATEWAY_PORT")] = 5050
    processes: Annotated[int, Field(ge=1, le=64), variable("GATEWAY_PROCESSES")] = 1
    #: most connections of one process at a time; fewer if it may not open as many files
    connections: Annotated[int, Field(ge=16, le=65536), variable("GATEWAY_CONNECTIONS")] = 2048
    #: how long a connection stays open without a request, seconds
    keep_alive_s: Annotated[float, Field(ge=1, le=3600), variable("GATEWAY_KEEP_ALIVE_S")] = 75
    #: how long a request may take to arrive completely, seconds
    receive_s: Annotated[float, Field(ge=1, le=3600), variable("GATEWAY_RECEIVE_S")] = 10
    #: the gateway answers 503 for a lane with this many ready messages or more
    queue_max_ready: Annotated[Count, variable("QUEUE_MAX_READY")] = 1_000_000
    #: whether the demo page is served; if it is not set, only in development
    demo: Annotated[bool | None, variable("GATEWAY_DEMO")] = None
    #: how long the gateway remembers its answer to a request_id, seconds
    accepted_ttl_s: Annotated[Seconds, variable("ACCEPTED_TTL_S")] = 86_400
