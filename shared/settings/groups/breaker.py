"""Defines the settings of a breaker. ``shared/breaker/policy.py`` decides with them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ValidationInfo, field_validator

from shared.settings.types import Count, Group, Seconds, Share, variable


class BreakerPolicy(Group):
    """Says when a breaker opens, and for how long."""

    #: this many failures in a row open it
    failures: Annotated[Count, variable("BREAKER_FAILURES")] = 5
    #: it also opens if ``failure_rate`` of at least ``window_calls`` calls within ``window_s`` seconds failed, or if
    #: ``slow_rate`` of them took longer than ``slow_s`` seconds
    window_s: Annotated[Seconds, variable("BREAKER_WINDOW_S")] = 30
    window_calls: Annotated[Count, variable("BREAKER_WINDOW_CALLS")] = 20
    failure_rate: Annotated[Share, variable("BREAKER_FAILURE_RATE")] = 0.5
    slow_rate: Annotated[Share, variable("BREAKER_SLOW_RATE")] = 0.8
    slow_s: Annotated[Seconds, variable("BREAKER_SLOW_S")] = 5
    #: how long it stays open at first, seconds; doubles up to ``open_max_s`` while probes fail; each time varies by
    #: ``jitter`` up or down
    open_s: Annotated[Seconds, variable("BREAKER_OPEN_S")] = 30
    open_max_s: Annotated[Seconds, variable("BREAKER_OPEN_MAX_S")] = 300
    jitter: ClassVar[float] = 0.2
    #: this many successful probes close it
    successes: Annotated[Count, variable("BREAKER_SUCCESSES")] = 3
    #: how often a paused worker asks whether it may try one message, seconds
    probe_s: Annotated[Seconds, variable("PAUSE_PROBE_S")] = 1
    #: if this many different recipients in a row are throttled, the whole provider counts as throttling
    throttled_targets: ClassVar[int] = 3
    #: if this many different recipients in a row are refused for good, and no refusal proves the recipient's or the
    #: content's fault, the account counts as refused
    rejected_targets: ClassVar[int] = 5

    @field_validator("open_max_s")
    @classmethod
    def _check_longest_reaches_first(cls, longest_s: float, info: ValidationInfo) -> float:
        if longest_s < info.data.get("open_s", 0):
            raise ValueError("must not be below BREAKER_OPEN_S")
        return longest_s
