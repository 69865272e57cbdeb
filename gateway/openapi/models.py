"""The answers as models: what the document says of them, and what tests hold the routes to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BreakerState = Literal["closed", "half_open", "open"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AcceptedAnswer(_Answer):
    """Every channel's message is stored on a quorum queue."""

    request_id: str
    status: Literal["accepted"]
    channels: Annotated[list[str], Field(description="the channels that it was published to")]


class FieldError(_Answer):
    """One thing that is wrong with a request."""

    field: Annotated[str, Field(description="path of the field, as in `content.title`; empty for the whole")]
    detail: str


class ProblemDocument(_Answer):
    """RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    errors: list[FieldError]


class BatchResult(_Answer):
    """What became of one item."""

    index: Annotated[int, Field(description="its place in the batch, from 0")]
    request_id: str | None
    status: Annotated[int, Field(description="what it would have been answered alone")]
    error: ProblemDocument | None = None


class BatchAnswer(_Answer):
    """One result an item, in input order."""

    results: list[BatchResult]


class ChannelHealth(_Answer):
    """A channel, over all its lanes and workers."""

    queue: str
    ready: Annotated[int | None, Field(description="messages waiting over the three lanes; null while not known")]
    consumers: Annotated[int, Field(description="living worker processes, by their own heartbeat")]
    paused: bool
    breaker_state: Annotated[BreakerState, Field(description="the worst of its providers")]
    providers: dict[str, BreakerState]


class HealthAnswer(_Answer):
    """`unhealthy`: the broker is down. `degraded`: Redis, a channel or a provider is in need of somebody."""

    status: Literal["healthy", "degraded", "unhealthy"]
    broker: Literal["up", "down", "blocked"]
    redis: Literal["up", "down"]
    channels: dict[str, ChannelHealth]


class LiveAnswer(_Answer):
    """The process lives."""

    status: Literal["live"]


class ReadyAnswer(_Answer):
    """Whether it can publish."""

    status: Literal["ready", "unready"]
    broker: Literal["up", "down", "blocked"]
