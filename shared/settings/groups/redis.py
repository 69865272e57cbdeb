"""Defines the settings of the Redis that keeps claims, results and the workers' state."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from pydantic import SecretStr

from shared.settings.types import Group, Port, RedisUrl, variable


class RedisSettings(Group):
    """Holds the variables as they were set; ``url`` is the address to connect to."""

    given_url: Annotated[RedisUrl | None, variable("REDIS_URL")] = None
    host: Annotated[str, variable("REDIS_HOST")] = "localhost"
    port: Annotated[Port, variable("REDIS_PORT")] = 6379
    password: Annotated[SecretStr | None, variable("REDIS_PASSWORD")] = None

    @property
    def url(self) -> str:
        """Returns the Redis URL; it may hold a password. REDIS_URL wins over the other three."""
        if self.given_url is not None:
            return self.given_url.get_secret_value()
        secret = f":{quote(self.password.get_secret_value(), safe='')}@" if self.password else ""
        return f"redis://{secret}{self.host}:{self.port}/0"
