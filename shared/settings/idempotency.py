"""Settings of claims: how long one lasts, how long a result is remembered, and what happens without Redis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ValidationInfo, field_validator

from shared.settings.types import Group, Seconds, variable


class IdempotencySettings(Group):
    """A lease exceeds two handling budgets, so that a worker that is slow still holds its claim."""

    #: longest that one handling of a message may take
    handling_budget_s: Annotated[Seconds, variable("HANDLING_BUDGET_S")] = 25
    #: how long a claim lasts
    lease_s: Annotated[Seconds, variable("LEASE_S")] = 60
    #: how long the record of a delivered message is kept
    done_ttl_s: Annotated[Seconds, variable("DONE_TTL_S")] = 259_200
    on_redis_down: Annotated[Literal["pause", "proceed"], variable("IDEMPOTENCY_ON_REDIS_DOWN")] = "pause"
    #: how long a worker tries to record an outcome
    record_patience_s: Annotated[Seconds, variable("REDIS_RECORD_PATIENCE_S")] = 10

    # A validator of one field, so that the field is named beside everything else that is wrong. ``info.data`` lacks
    # the budget if the budget is wrong itself.
    @field_validator("lease_s")
    @classmethod
    def _check_lease_exceeds_two_budgets(cls, lease_s: float, info: ValidationInfo) -> float:
        budget_s = info.data.get("handling_budget_s")
        if budget_s is not None and lease_s <= 2 * budget_s:
            raise ValueError(f"must be longer than twice HANDLING_BUDGET_S ({budget_s:g})")
        return lease_s
