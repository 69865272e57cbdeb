"""Keeps one standing fault per provider; calls draw it and are struck by it."""

import random
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator, model_validator

HEADER_TEXT = r"^[ -~]{1,256}$"
LONGEST_DELAY_MS = 600_000


class Mode(StrEnum):
    """Says what happens to a call that is struck."""

    STATUS = "status"  # refused with `status` or `error_code`
    TIMEOUT = "timeout"  # never answered and never accepted
    SLOW = "slow"  # accepted, answered `delay_ms` later
    RESET_AFTER_ACCEPT = "reset_after_accept"  # accepted and recorded, then the connection is reset
    DOWN = "down"  # mail only: refused with 421 at the connection's first step


class Fault(BaseModel):
    """Describes a fault as an operator orders it; ``count`` decreases with every call struck."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode
    status: StrictInt | None = None
    retry_after: Annotated[StrictInt, Field(ge=0)] | Annotated[StrictStr, Field(pattern=HEADER_TEXT)] | None = None
    error_code: Annotated[StrictStr, Field(pattern=HEADER_TEXT)] | None = None
    rate: float = Field(default=1.0, gt=0, le=1, strict=True)
    count: Annotated[StrictInt, Field(ge=1)] | None = None
    #: The fault strikes only calls beyond this number within any second: a limit of the rate.
    above_per_s: Annotated[StrictInt, Field(ge=1)] | None = None
    delay_ms: Annotated[StrictInt, Field(ge=0, le=LONGEST_DELAY_MS)] | None = None
    target: Annotated[StrictStr, Field(min_length=1)] | None = None
    #: Mail only: the command that is answered with `status` or `error_code`; ``data`` is the end of the message. If it
    #: is not given, the status decides: that of a refused login strikes at the login, any other at ``data``.
    stage: Literal["mail", "rcpt", "data"] | None = None
    #: The field that the refusal complains of. FCM: the field of INVALID_ARGUMENT (else ``message.notification``), or
    #: the subject whose quota is used up according to QUOTA_EXCEEDED (else ``project``); a bare status 400 with a field
    #: is the refusal of Google's front end, without an error code of FCM's. SendGrid: the field that its list of errors
    #: names (else none). Vonage: the parameter that message status 2 or 3 names (else none).
    field: Annotated[StrictStr, Field(pattern=HEADER_TEXT)] | None = None

    @field_validator("error_code", mode="before")
    @classmethod
    def _code_as_text(cls, code: object) -> object:
        # Twilio's and Vonage's codes are numbers: 21610 is accepted as well as "21610".
        return str(code) if isinstance(code, int) and not isinstance(code, bool) else code

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode is Mode.STATUS and self.status is None and self.error_code is None:
            raise ValueError("status: mode status needs a status or an error_code")
        if self.mode is Mode.SLOW and self.delay_ms is None:
            raise ValueError("delay_ms: mode slow needs it")
        return self

    @property
    def delay_s(self) -> float:
        return (self.delay_ms or 0) / 1000


@dataclass(slots=True)
class Faults:
    """Holds the standing faults, by provider."""

    chance: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic
    standing: dict[str, Fault] = field(default_factory=dict)
    #: When the calls of the last second came that a limit of the rate let through, by provider.
    _passed: dict[str, deque[float]] = field(default_factory=dict)

    def order(self, provider: str, fault: Fault) -> None:
        """Lets ``fault`` strike the calls to ``provider`` from now on, in place of any earlier fault."""
        self.standing[provider] = fault
        self._passed.pop(provider, None)

    def draw(
        self, provider: str, targets: Collection[str] = (), strikes: Callable[[Fault], bool] | None = None
    ) -> Fault | None:
        """Returns the fault that strikes this call, or None. A fault whose ``count`` is used up is removed.

        ``strikes`` narrows the draw to faults of this stage of the call: the others are left as they are.
        """
        fault = self.standing.get(provider)
        if fault is None or (strikes is not None and not strikes(fault)):
            return None
        if fault.target is not None and fault.target not in targets:
            return None
        if self.chance() >= fault.rate:
            return None
        if fault.above_per_s is not None and self._passes(provider, fault.above_per_s):
            return None
        if fault.count is not None:
            fault.count -= 1
            if fault.count == 0:
                del self.standing[provider]
        return fault

    def _passes(self, provider: str, per_s: int) -> bool:
        passed, now = self._passed.setdefault(provider, deque()), self.clock()
        while passed and passed[0] <= now - 1:
            passed.popleft()
        if len(passed) >= per_s:
            return False
        passed.append(now)
        return True
