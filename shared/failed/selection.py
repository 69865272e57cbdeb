"""Parses which failed messages an operator selects."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from shared.errors import InvalidSelection
from shared.failed.entry import REASONS, FailedEntry
from shared.message.channels import CHANNELS
from shared.message.envelope import whole
from shared.message.identity import CLIENT_PATTERN, CLIENT_RULE
from shared.message.json_schema import given
from shared.message.problems import problem_of

#: Most messages that one listing shows, and most that one replay or discard may select (all that a scan reaches).
MOST_LISTED, MOST_SELECTED = 1_000, 10_000
MOST_IDS = 1_000

#: The fields that select messages, besides ``all``.
_SELECTORS = ("ids", "request_id", "client", "channel", "reason", "older_than")
_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _channel(value: str) -> str:
    if value not in CHANNELS:
        raise ValueError(f"must be one of {', '.join(CHANNELS)}")
    return value


def _reason(value: str) -> str:
    if value not in REASONS:
        raise ValueError(f"must be one of {', '.join(sorted(REASONS))}")
    return value


def _client(value: str) -> str:
    if value and not re.fullmatch(CLIENT_PATTERN, value):
        raise ValueError(f"{CLIENT_RULE}, or empty for messages without a client")
    return value


def _age(value: str) -> str:
    if not _AGE.fullmatch(value):
        raise ValueError("must be a whole number and its unit, as in 90s, 15m, 2h or 3d")
    return value


Name = Annotated[StrictStr, Field(min_length=1, max_length=128)]
# The OpenAPI document states what the validators check.
Channel = Annotated[StrictStr, AfterValidator(_channel), Field(json_schema_extra={"enum": sorted(CHANNELS)})]
Reason = Annotated[StrictStr, AfterValidator(_reason), Field(json_schema_extra={"enum": sorted(REASONS)})]
Client = Annotated[StrictStr, AfterValidator(_client), Field(json_schema_extra={"pattern": f"^({CLIENT_PATTERN})?$"})]
Age = Annotated[StrictStr, AfterValidator(_age), Field(json_schema_extra={"pattern": f"^{_AGE.pattern}$"})]


class Filter(BaseModel):
    """Matches a message if every given field matches.

    ``older_than`` counts from the time of failure, and never matches if that is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    channel: Channel | None = Field(None, description="Only messages of this channel.")
    reason: Reason | None = Field(None, description="Only messages that failed for this reason.")
    request_id: Name | None = Field(None, description="Only messages of this request.")
    client: Client | None = Field(
        None, description="Only messages of this client; empty: only messages that name no client."
    )
    older_than: Age | None = Field(
        None, description="Only messages that failed at least this long ago: `90s`, `15m`, `2h`, `3d`."
    )

    @property
    def exact(self) -> bool:
        """Tells whether certain messages are meant, by id or request_id, wherever they are in the queue."""
        return self.request_id is not None

    def matches(self, entry: FailedEntry, now_ms: int) -> bool:
        return (
            (self.channel is None or (entry.lane is not None and entry.lane.channel == self.channel))
            and (self.reason is None or entry.reason == self.reason)
            and (self.request_id is None or entry.request_id == self.request_id)
            and (self.client is None or entry.client == self.client)
            and (self.older_than is None or _is_older(entry, now_ms - age_ms(self.older_than)))
        )


class Listing(Filter):
    """Selects the messages to show: all of them if no field is given."""

    limit: Annotated[
        StrictInt, Field(ge=1, le=MOST_LISTED, description="Show at most this many."), BeforeValidator(whole)
    ] = 100


class Selection(Filter):
    """Selects the messages to replay or discard; at least one selector must be given.

    ``limit``: only this number of the matching messages, the oldest ones.
    """

    # This rule is the same that ``_something`` checks.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                *(given(field) for field in _SELECTORS),
                {"required": ["all"], "properties": {"all": {"const": True}}},
            ]
        }
    )

    ids: Annotated[frozenset[Name], Field(min_length=1, max_length=MOST_IDS)] | None = Field(
        None, description="Only these messages, with the ids that `GET /failed` shows."
    )
    all: StrictBool = Field(False, description="Must be true if no other field selects messages.")
    limit: Annotated[StrictInt, Field(ge=1, le=MOST_SELECTED), BeforeValidator(whole)] = Field(
        MOST_SELECTED, description="Only this number of the matching messages, the oldest ones."
    )
    dry_run: StrictBool = Field(False, description="Only report what would be done.")

    @property
    def exact(self) -> bool:
        return self.ids is not None or super().exact

    def matches(self, entry: FailedEntry, now_ms: int) -> bool:
        return (self.ids is None or entry.id in self.ids) and super().matches(entry, now_ms)

    def named(self) -> dict[str, Any]:
        """Returns the given selectors, for the log."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"dry_run", "ignore_expiry"})


class ReplaySelection(Selection):
    """Selects the messages to replay. ``ignore_expiry``: also send messages whose ``expires_at`` has passed."""

    ignore_expiry: StrictBool = Field(False, description="Also send messages whose `expires_at` has passed.")


F = TypeVar("F", bound=Filter)
M = TypeVar("M", bound=Selection)


def parse_listing(fields: dict[str, Any]) -> Listing:
    """Parses the fields of a listing. Raises InvalidSelection that names every bad field."""
    return _parse(Listing, fields)


def parse_discard(fields: Any) -> Selection:
    """Parses the fields of a discard. Raises InvalidSelection: it names every bad field, or says that one is needed."""
    return _something(_parse(Selection, fields))


def parse_replay(fields: Any) -> ReplaySelection:
    """Parses the fields of a replay. Raises InvalidSelection: it names every bad field, or says that one is needed."""
    return _something(_parse(ReplaySelection, fields))


def age_ms(text: str) -> int:
    """Returns an age such as ``15m`` in milliseconds."""
    return int(text[:-1]) * _UNIT_S[text[-1]] * 1000


def _is_older(entry: FailedEntry, than_ms: int) -> bool:
    return entry.failed_at_ms is not None and entry.failed_at_ms <= than_ms


def _something(selection: M) -> M:
    given = selection.model_dump(include=set(_SELECTORS), exclude_none=True)
    if not given and not selection.all:
        why = "must be true unless one of ids, request_id, client, channel, reason and older_than is given"
        raise InvalidSelection([("all", why)])
    return selection


def _parse(model: type[F], fields: Any) -> F:
    if not isinstance(fields, dict):
        raise InvalidSelection([("", "must be a JSON object")])
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise InvalidSelection([problem_of(error) for error in exc.errors(include_url=False)]) from exc
