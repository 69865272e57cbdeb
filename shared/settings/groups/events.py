"""Defines the settings of the timeline: whether events are published, how long they are kept, and who writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.settings.types import Group, Port, variable


class EventSettings(Group):
    """Sets up the events of notifications and their tracker."""

    given: Annotated[Literal["on", "off"], variable("EVENTS")] = "on"
    #: how long the timeline of a notification is kept, days
    days: Annotated[float, Field(gt=0), variable("EVENTS_DAYS")] = 30
    #: how long a notification may stay without an end before it is published again, seconds; 0 is never
    reconcile_after_s: Annotated[float, Field(ge=0), variable("RECONCILE_AFTER_S")] = 3600
    #: the port of the first tracker's /health and /metrics
    port: Annotated[Port, variable("TRACKER_PORT")] = 5075
    processes: Annotated[int, Field(ge=0, le=64), variable("TRACKER_PROCESSES")] = 1

    @property
    def on(self) -> bool:
        """Tells whether the timeline is told what happens."""
        return self.given == "on"
