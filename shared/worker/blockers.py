"""What can stop a whole channel, and how to tell that it is over."""

from __future__ import annotations

from typing import Protocol

from shared.errors import StoreUnavailable
from shared.message.outcome import HoldCause


class Waitable(Protocol):
    """The providers, the directory, the templates."""

    def retry_in_s(self) -> float:
        """Seconds until one call may be tried; 0 if now."""

    @property
    def is_open(self) -> bool:
        """No call is admitted, or none but probes has been since it was."""


class Pingable(Protocol):
    async def ping(self) -> None:
        """Raises StoreUnavailable."""


class Blockers:
    """Asked by a paused worker only."""

    def __init__(self, providers: Waitable, directory: Waitable, templates: Waitable, store: Pingable) -> None:
        self._waitable: dict[HoldCause, Waitable] = {
            "provider": providers,
            "users": directory,
            "templates": templates,
        }
        self._store = store

    async def may_probe(self, cause: HoldCause) -> bool:
        """Is it worth while to try one message?"""
        waitable = self._waitable.get(cause)
        if waitable is not None:
            return waitable.retry_in_s() <= 0
        try:
            await self._store.ping()
        except StoreUnavailable:
            return False
        return True

    def is_over(self, cause: HoldCause) -> bool:
        """May all lanes flow again? (Asked after a probe went through, or when there was none to try.)"""
        waitable = self._waitable.get(cause)
        return waitable is None or not waitable.is_open
