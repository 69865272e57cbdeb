"""Defines the settings of one channel's retries. ``shared/delivery/retry_policy.py`` decides with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings.types import Group, Seconds, variable


class RetryPolicy(Group):
    """Says how long the retries of a channel wait, and when a message is no longer retried. Times are in seconds."""

    #: base and lower bound of the exponential backoff; the same for every channel
    base_s: Annotated[Seconds, variable("RETRY_BASE_S")] = 10
    min_s: Annotated[Seconds, variable("RETRY_MIN_S")] = 1
    #: upper bound of one backoff
    cap_s: Annotated[Seconds, variable("RETRY_CAP_S_{CHANNEL}")]
    #: a message is dead-lettered after this many attempts that reached a provider
    max_attempts: Annotated[int, Field(ge=1, le=1000), variable("MAX_ATTEMPTS_{CHANNEL}")]
    #: life of a message that has no ``expires_at``
    life_s: Annotated[Seconds, variable("EXPIRES_S_{CHANNEL}")]
