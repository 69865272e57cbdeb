"""Defines the settings of claims: how long one lasts, how long a result is kept, and what happens without Redis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ValidationInfo, field_validator

from shared.settings.types import Group, Seconds, variable


class IdempotencySettings(Group):
    """Sets up claims. A lease must exceed two handling budgets, so that a slow worker still holds its claim."""

    #: longest time for one handling of a message, seconds
    handling_budget_s: Annotated[Seconds, variable("HANDLING_BUDGET_S")] = 25
    #: how long a claim lasts, seconds
    lease_s: Annotated[Seconds, variable("LEASE_S")] = 60
    #: how long the record of a delivered message is kept, seconds
    done_ttl_s: Annotated[Seconds, variable("DONE_TTL_S")] = 259_200
    on_redis_down: Annotated[Literal["pause", "proceed"], variable("IDEMPOTENCY_ON_REDIS_DOWN")] = "pause"
    #: how long a worker tries to record an outcome, seconds
    record_patience_s: Annotated[Seconds, variable("REDIS_RECORD_PATIENCE_S")] = 10

    # This validates a single field, so that the error names this field together with all other wrong ones. If the
    # budget itself is wrong, ``info.data`` does not contain it.
    @field_validator("lease_s")
    @classmethod
    def _check_lease_exceeds_two_budgets(cls, lease_s: float, info: ValidationInfo) -> float:
        budget_s = info.data.get("handling_budget_s")
        if budget_s is not None and lease_s <= 2 * budget_s:
            raise ValueError(f"must be longer than twice HANDLING_BUDGET_S ({budget_s:g})")
        return lease_s
