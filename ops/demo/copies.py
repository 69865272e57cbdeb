"""Publishes a copy of a message directly to its queue, as another service might do."""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import requests

from ops.errors import OpsError
from ops.settings import Configuration
from ops.system.fleet import programs
from shared.broker.publisher import Publication, Publisher
from shared.broker.topology import EXCHANGE
from shared.errors import PublishFailed
from shared.message.channels import Lane
from shared.message.envelope import validate_envelope
from shared.message.headers import DeliveryState
from shared.message.identity import published_body
from shared.settings.settings import Settings

_TIMEOUT_S = 5.0


class Copies:
    """Publishes copies and counts suppressed ones.

    ``settings`` name the broker of the running system, ``configuration`` names its workers. ``key`` is the API key with
    which the demo calls the gateway: a copy must name the same client.
    """

    def __init__(self, settings: Settings, configuration: Configuration, key: str | None = None) -> None:
        self._settings, self._configuration = settings, configuration
        digest = hashlib.sha256((key or "").encode()).hexdigest()
        keys = configuration.product.gateway.api_keys
        self._client = next((known.client for known in keys if known.sha256 == digest), "")

    def publish(self, envelope: Mapping[str, Any], channel: str) -> str:
        """Publishes exactly the bytes that the gateway published. Returns the name of the queue. Raises OpsError."""
        parsed = validate_envelope(envelope, extra="forbid")
        lane = Lane(channel, parsed.lane_priority)
        copy = Publication(
            EXCHANGE,
            lane.routing_key,
            published_body(dict(envelope), channel),
            DeliveryState(client=self._client).to_headers(),
            parsed.request_id,
        )
        try:
            asyncio.run(self._publish(copy))
        except PublishFailed as failure:
            raise OpsError(f"the broker has not confirmed the copy: {failure}") from failure
        return lane.queue

    async def _publish(self, copy: Publication) -> None:
        broker = self._settings.broker
        publisher = Publisher(
            broker.url,
            "demo",
            levels_s=broker.retry_levels_s,
            deadline_s=broker.publish_deadline_s,
            max_pending=broker.publish_max_pending,
        )
        publisher.start()
        try:
            await publisher.publish(copy)
        finally:
            await publisher.close()

    def suppressed(self, channel: str) -> float:
        """Returns ``notify_duplicates_total`` of the channel, summed over its workers. Raises OpsError."""
        module = f"services.{channel}"
        workers = [program for program in programs(self._configuration) if program.module == module]
        return sum(_duplicates(program.health_url.replace("/health", "/metrics")) for program in workers)


def _duplicates(url: str) -> float:
    with requests.Session() as session:
        session.trust_env = False
        try:
            text = session.get(url, timeout=_TIMEOUT_S).text
        except requests.RequestException as exc:
            raise OpsError(f"{url} does not return metrics: {exc}") from exc
    found = re.search(r"^notify_duplicates_total\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
