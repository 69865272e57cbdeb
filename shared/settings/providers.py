"""Defines the providers' settings that are not in their URLs, and those of the sandbox that stands in for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import SecretStr

from shared.settings.types import Group, Port, variable


class ProviderSettings(Group):
    """Holds credentials that do not fit into a URL."""

    #: a service account's JSON, or the path of a file that holds it
    firebase_key: Annotated[SecretStr | None, variable("FIREBASE_KEY")] = None


class SandboxSettings(Group):
    """Says where the sandbox (stand-in providers, users and templates) listens in development."""

    host: Annotated[str, variable("SANDBOX_HOST")] = "127.0.0.1"
    port: Annotated[Port, variable("SANDBOX_PORT")] = 5070
    smtp_port: Annotated[Port, variable("SANDBOX_SMTP_PORT")] = 5025

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"
