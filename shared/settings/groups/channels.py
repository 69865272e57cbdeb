"""Defines the settings that exist once per channel; their variables carry the channel's name (``PUSH_PORT``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr

from shared.message.channels import ChannelDefaults
from shared.settings.groups.retry import RetryPolicy
from shared.settings.types import Group, Port, variable, words


class ChannelSettings(Group):
    """Sets up the workers of one channel, its providers and its retries."""

    #: the port of the first worker's /health and /metrics
    port: Annotated[Port, variable("{CHANNEL}_PORT")]
    processes: Annotated[int, Field(ge=0, le=64), variable("{CHANNEL}_PROCESSES")] = 1
    providers: Annotated[SecretStr | None, variable("{CHANNEL}_PROVIDERS")] = None
    retry: RetryPolicy

    @property
    def provider_urls(self) -> tuple[str, ...]:
        """Returns the provider URLs in order of preference; () if none is set. They hold secrets."""
        urls: tuple[str, ...] = words(self.providers.get_secret_value()) if self.providers else ()
        return urls


def defaults_of(channel: ChannelDefaults) -> dict[str, Any]:
    """Maps the variables whose defaults differ from channel to channel to those defaults."""
    name = channel.name.upper()
    return {
        f"{name}_PORT": channel.worker_port,
        f"RETRY_CAP_S_{name}": channel.retry_cap_s,
        f"MAX_ATTEMPTS_{name}": channel.max_attempts,
        f"EXPIRES_S_{name}": channel.expires_s,
    }
