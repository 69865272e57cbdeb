"""Lists the resources that the gateway serves, in the order of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from gateway.api import failed, health, inbox, notifications, presence, tokens
from gateway.http.endpoint import Resource

RESOURCES: tuple[Resource[Any], ...] = (
    notifications.resource,
    inbox.resource,
    presence.resource,
    tokens.resource,
    health.resource,
    failed.resource,
)
