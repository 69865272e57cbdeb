"""Finds users by their id: an interface, and its implementation that asks the directory service over HTTP."""

from __future__ import annotations

from typing import Protocol

from shared.lookup.cached import Source
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.users.user import User


class Directory(Protocol):
    """Finds users. ``is_open`` and ``retry_in_s`` report the state of its breaker."""

    @property
    def is_open(self) -> bool:
        """Tells whether lookups are refused now, because the source did not answer."""

    def retry_in_s(self) -> float:
        """Returns the seconds until a lookup makes sense again; 0 if it does now."""

    async def user(self, user_id: str) -> User:
        """Returns the user. Raises SourceNotFound, SourceUnreadable, SourceUnavailable."""


class HttpDirectory(Source[User]):
    """Asks the service at ``USER_ENDPOINT`` for users, and caches its answers."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__("users", User, "id", settings, metrics)

    async def user(self, user_id: str) -> User:
        """Returns the user. Raises SourceNotFound, SourceUnreadable, SourceUnavailable."""
        return await self.get(user_id)
