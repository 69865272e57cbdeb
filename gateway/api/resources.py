"""Lists the resources that the gateway serves, in the order of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from gateway.api import channels, failed, health, inbox, notifications, presence, timeline, tokens
from gateway.http.endpoint import Resource

RESOURCES: tuple[Resource[Any], ...] = (
    notifications.resource,
    timeline.resource,
    inbox.resource,
    presence.resource,
    channels.resource,
    tokens.resource,
    health.resource,
    failed.resource,
)
