"""Settings of a worker process that are the same for every channel."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings.types import Group, Seconds, variable


class WorkerSettings(Group):
    """How much a worker takes at a time, and how long it stays, pauses and stops."""

    #: where its /health and /metrics listen
    host: Annotated[str | None, variable("WORKER_HOST")] = None
    #: which replica of its channel it is; its port is the channel's + 10 times this
    replica: Annotated[int, Field(ge=0, le=1000), variable("NOTIFY_REPLICA")] = 0
    prefetch: Annotated[int, Field(ge=1, le=4096), variable("PREFETCH")] = 256
    shutdown_s: Annotated[Seconds, variable("SHUTDOWN_S")] = 25
    heartbeat_s: Annotated[Seconds, variable("HEARTBEAT_S")] = 2
    #: longest that a paused worker holds messages (the broker's ack timeout is 30 minutes)
    pause_hold_s: Annotated[Seconds, variable("PAUSE_HOLD_S")] = 300
