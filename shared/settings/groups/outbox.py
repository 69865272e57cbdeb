"""Defines the settings of the relay, which publishes the rows of an upstream's outbox."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr

from shared.message.identity import CLIENT_PATTERN, CLIENT_RULE
from shared.settings.types import DatabaseUrl, Group, Port, variable

#: how the relay learns of new rows: it is notified while it sleeps, at every commit, or not at all
Wake = Literal["flag", "always", "poll"]
_CLIENT = re.compile(CLIENT_PATTERN)


def _postgresql(url: SecretStr | None) -> SecretStr | None:
    if url is not None and url.get_secret_value().startswith("sqlite:"):
        raise ValueError("must be postgresql://user:password@host/database: an outbox needs PostgreSQL")
    return url


def _client(name: str) -> str:
    if name and not _CLIENT.fullmatch(name):
        raise ValueError(CLIENT_RULE)
    return name


class OutboxSettings(Group):
    """Holds the address of the outbox; without one no relay runs."""

    given_url: Annotated[DatabaseUrl | None, AfterValidator(_postgresql), variable("OUTBOX_URL")] = None
    wake: Annotated[Wake, variable("OUTBOX_WAKE")] = "flag"
    #: the sender in whose namespace the request_ids of the rows are; '' is the one of callers without a key
    client: Annotated[str, AfterValidator(_client), variable("OUTBOX_CLIENT")] = ""
    #: the port of the relay's /health and /metrics
    port: Annotated[Port, variable("RELAY_PORT")] = 5076

    @property
    def url(self) -> str | None:
        """Returns the URL, which may hold a password; None if there is no outbox."""
        return None if self.given_url is None else self.given_url.get_secret_value()
