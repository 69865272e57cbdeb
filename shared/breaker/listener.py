"""What a breaker tells those who want to know."""

from __future__ import annotations

from typing import Literal, Protocol

State = Literal["closed", "half_open", "open"]


class BreakerListener(Protocol):
    """Called on the loop: return soon."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        """The breaker has moved from ``old`` to ``new``."""

    def paused(self, name: str, pause_s: float) -> None:
        """No permits for ``pause_s`` seconds: the provider is throttling us. A pause that only grows is not told."""


class Silent:
    """For breakers that nobody watches."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        return

    def paused(self, name: str, pause_s: float) -> None:
        return
