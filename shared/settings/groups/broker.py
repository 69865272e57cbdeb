"""Defines the settings of RabbitMQ: its address, the retry ladder declared there, and the limits of publishing."""

from __future__ import annotations

from typing import Annotated

from shared.settings.types import AmqpUrl, Count, Group, Hosts, RisingSeconds, Seconds, variable


class BrokerSettings(Group):
    """Holds the variables as they were set; ``url`` is the address to connect to."""

    given_url: Annotated[AmqpUrl | None, variable("RABBITMQ_URL")] = None
    host: Annotated[Hosts, variable("RABBITMQ_HOST")] = "localhost:5672"
    #: waiting times of the ladder, seconds; each level is one queue per lane
    retry_levels_s: Annotated[RisingSeconds, variable("RETRY_LEVELS_S")] = (1, 5, 15, 60, 300, 900, 3600)
    #: longest wait for a confirm, seconds
    publish_deadline_s: Annotated[Seconds, variable("PUBLISH_DEADLINE_S")] = 5
    #: most unconfirmed messages of one process at a time
    publish_max_pending: Annotated[Count, variable("PUBLISH_MAX_PENDING")] = 5_000

    @property
    def url(self) -> str:
        """Returns the AMQP URL, which may name several hosts (``amqp_urls``) and hold a password.

        RABBITMQ_URL wins over RABBITMQ_HOST.
        """
        if self.given_url is not None:
            return self.given_url.get_secret_value()
        hosts = (host if ":" in host else f"{host}:5672" for host in self.host.split(","))
        return f"amqp://guest:guest@{','.join(hosts)}/%2F"
