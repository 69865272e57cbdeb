"""Combines all settings of the product in one frozen tree of groups.

``.env.example`` describes each variable; times are in seconds. ``load.py`` reads them.
A new setting is one field of a group in ``groups``, and one line each in ``.env.example`` and ``docker-compose.yml``.
"""

from __future__ import annotations

from shared.settings.groups.breaker import BreakerPolicy
from shared.settings.groups.broker import BrokerSettings
from shared.settings.groups.channels import ChannelSettings
from shared.settings.groups.database import DatabaseSettings
from shared.settings.groups.gateway import GatewaySettings
from shared.settings.groups.idempotency import IdempotencySettings
from shared.settings.groups.lookup import LookupSettings
from shared.settings.groups.providers import ProviderSettings, SandboxSettings
from shared.settings.groups.recipients import RecipientSettings
from shared.settings.groups.redis import RedisSettings
from shared.settings.groups.sockets import SocketAuth, SocketSettings
from shared.settings.groups.system import SystemSettings
from shared.settings.groups.worker import WorkerSettings
from shared.settings.types import Group


class Settings(Group):
    """Holds the groups, and the values that follow from several of them."""

    system: SystemSettings
    broker: BrokerSettings
    redis: RedisSettings
    database: DatabaseSettings
    lookup: LookupSettings
    providers: ProviderSettings
    recipients: RecipientSettings
    sandbox: SandboxSettings
    gateway: GatewaySettings
    worker: WorkerSettings
    sockets: SocketSettings
    idempotency: IdempotencySettings
    breaker: BreakerPolicy
    #: the settings of each channel, by its name
    channels: dict[str, ChannelSettings]

    @property
    def production(self) -> bool:
        return self.system.env == "production"

    @property
    def listen_host(self) -> str:
        """Returns the address on which the gateway listens: this machine only, unless it is set or in production."""
        return self.gateway.host or ("0.0.0.0" if self.production else "127.0.0.1")

    @property
    def demo_page(self) -> bool:
        """Tells whether the gateway serves its demo page."""
        return not self.production if self.gateway.demo is None else self.gateway.demo

    @property
    def worker_listen_host(self) -> str:
        """Returns the address of a worker's /health and /metrics: this machine only, unless it is set."""
        return self.worker.host or "127.0.0.1"

    @property
    def socket_host(self) -> str:
        """Returns the address on which devices connect: this machine only, unless it is set or in production."""
        return self.sockets.host or ("0.0.0.0" if self.production else "127.0.0.1")

    @property
    def socket_auth(self) -> SocketAuth:
        """Returns whether devices must prove who they are: only in development without keys they need not."""
        return self.sockets.given_auth or ("required" if self.production or self.sockets.token_keys else "open")

    @property
    def users_url(self) -> str | None:
        """Returns the endpoint of the users; in development it is the sandbox's unless one is set."""
        return self.lookup.user_endpoint or (None if self.production else f"{self.sandbox.url}/users")

    @property
    def templates_url(self) -> str | None:
        """Returns the endpoint of the templates; in development it is the sandbox's unless one is set."""
        return self.lookup.template_endpoint or (None if self.production else f"{self.sandbox.url}/templates")
