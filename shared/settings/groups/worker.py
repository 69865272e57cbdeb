"""Defines the settings of a worker process that are the same for every channel."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings.types import Group, Seconds, variable


class WorkerSettings(Group):
    """Says how many messages a worker takes at a time, and how long it holds messages and takes to stop."""

    #: the address of its /health and /metrics
    host: Annotated[str | None, variable("WORKER_HOST")] = None
    #: number of this replica of its channel; its port is the channel's port + 10 times this number
    replica: Annotated[int, Field(ge=0, le=1000), variable("NOTIFY_REPLICA")] = 0
    prefetch: Annotated[int, Field(ge=1, le=4096), variable("PREFETCH")] = 256
    shutdown_s: Annotated[Seconds, variable("SHUTDOWN_S")] = 25
    heartbeat_s: Annotated[Seconds, variable("HEARTBEAT_S")] = 2
    #: how long a paused worker holds messages at most, seconds (the broker's ack timeout is 30 minutes)
    pause_hold_s: Annotated[Seconds, variable("PAUSE_HOLD_S")] = 300
