"""The numbers of a breaker. ``shared/breaker/policy.py`` decides with them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ValidationInfo, field_validator

from shared.settings.types import Count, Group, Seconds, Share, variable


class BreakerPolicy(Group):
    """When a breaker opens, and for how long."""

    #: failures in a row that open it
    failures: Annotated[Count, variable("BREAKER_FAILURES")] = 5
    #: or, among at least ``window_calls`` calls within ``window_s``, this share failed or was slower than ``slow_s``
    window_s: Annotated[Seconds, variable("BREAKER_WINDOW_S")] = 30
    window_calls: Annotated[Count, variable("BREAKER_WINDOW_CALLS")] = 20
    failure_rate: Annotated[Share, variable("BREAKER_FAILURE_RATE")] = 0.5
    slow_rate: Annotated[Share, variable("BREAKER_SLOW_RATE")] = 0.8
    slow_s: Annotated[Seconds, variable("BREAKER_SLOW_S")] = 5
    #: first stay in open; doubles up to ``open_max_s`` while probes fail; each is varied by ``jitter`` either way
    open_s: Annotated[Seconds, variable("BREAKER_OPEN_S")] = 30
    open_max_s: Annotated[Seconds, variable("BREAKER_OPEN_MAX_S")] = 300
    jitter: ClassVar[float] = 0.2
    #: successful probes that close it
    successes: Annotated[Count, variable("BREAKER_SUCCESSES")] = 3
    #: how often a paused worker asks whether it may try one message
    probe_s: Annotated[Seconds, variable("PAUSE_PROBE_S")] = 1
    #: different recipients throttled in a row that make it the provider's throttling
    throttled_targets: ClassVar[int] = 3

    @field_validator("open_max_s")
    @classmethod
    def _check_longest_reaches_first(cls, longest_s: float, info: ValidationInfo) -> float:
        if longest_s < info.data.get("open_s", 0):
            raise ValueError("must not be below BREAKER_OPEN_S")
        return longest_s
