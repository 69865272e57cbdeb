"""Finds templates by their code: an interface, and its implementation that asks the template service over HTTP."""

from __future__ import annotations

from typing import Protocol

from shared.lookup.cached import Source
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.templates.template import Template


class Library(Protocol):
    """Finds templates. ``is_open`` and ``retry_in_s`` report the state of its breaker."""

    @property
    def is_open(self) -> bool:
        """Tells whether lookups are refused now, because the source did not answer."""

    def retry_in_s(self) -> float:
        """Returns the seconds until a lookup makes sense again; 0 if it does now."""

    async def get(self, code: str) -> Template:
        """Returns the template. Raises SourceNotFound, SourceUnreadable, SourceUnavailable."""


class HttpLibrary(Source[Template]):
    """Asks the service at ``TEMPLATE_ENDPOINT`` for templates, and caches its answers."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__("templates", Template, "code", settings, metrics)
