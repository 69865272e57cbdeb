"""Defines the providers' settings that are not in their URLs, and those of the sandbox that stands in for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import SecretStr

from shared.settings.types import Group, Port, ProxyUrl, Words, variable


class ProviderSettings(Group):
    """Holds what all providers share: credentials that do not fit into a URL, and the way out."""

    #: a service account's JSON, or the path of a file that holds it
    firebase_key: Annotated[SecretStr | None, variable("FIREBASE_KEY")] = None
    #: the proxy through which the HTTP providers are called; it may hold a password
    proxy: Annotated[ProxyUrl | None, variable("EGRESS_PROXY")] = None
    #: names, domains, addresses and networks that are called without it
    no_proxy: Annotated[Words, variable("NO_PROXY")] = ()


class SandboxSettings(Group):
    """Says where the sandbox (stand-in providers, users and templates) listens in development."""

    host: Annotated[str, variable("SANDBOX_HOST")] = "127.0.0.1"
    port: Annotated[Port, variable("SANDBOX_PORT")] = 5070
    smtp_port: Annotated[Port, variable("SANDBOX_SMTP_PORT")] = 5025

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"
