"""Writes and reads the messages of ``events.queue``: many reports in one JSON document.

::

    {"v": 1, "reports": [[client, request_id, channel, user_id, ..., [[kind, at_ms, ...], ...]], ...]}

Any program may publish to the exchange, so every report is checked. One that is not valid is set apart, and does not
keep out the others of its message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from shared.events.event import MOST_DETAIL, Kind, Report
from shared.message.channels import CHANNELS
from shared.message.envelope import MAX_BODY_BYTES
from shared.message.headers import MOST_ATTEMPTS
from shared.message.identity import CLIENT_PATTERN

VERSION = 1
#: Largest message that is decoded, bytes: ours are far smaller.
MOST_BYTES = 8 * 1024 * 1024
#: Most reports in one message of ours, and most bytes of their bodies.
MOST_REPORTS, MOST_BODY_BYTES = 500, 256 * 1024
#: JavaScript reads no larger number exactly, and the end of the year 9999 lies below.
_LARGEST = 2**53 - 1
#: U+0000 is legal in JSON, and PostgreSQL refuses it.
_NUL, _REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"


def _channel(value: str) -> str:
    if value not in CHANNELS:
        raise ValueError(f"must be one of {', '.join(CHANNELS)}")
    return value


def _plain(value: str) -> str:
    return value.replace(_NUL, _REPLACEMENT) if _NUL in value else value


_Number = Annotated[int, Field(ge=0, le=_LARGEST)]
_Word = Annotated[str, Field(max_length=64), AfterValidator(_plain)]
_Id = Annotated[str, Field(max_length=256), AfterValidator(_plain)]
_Detail = Annotated[str, Field(max_length=MOST_DETAIL), AfterValidator(_plain)]
_Body = Annotated[str, Field(max_length=MAX_BODY_BYTES), AfterValidator(_plain)]
_Happening = tuple[Kind, _Number, _Word, _Word, _Number | None, _Word, _Detail, _Number | None, _Body | None]
_REPORT: TypeAdapter[Report] = TypeAdapter(
    tuple[
        Annotated[str, Field(pattern=rf"^(?:{CLIENT_PATTERN})?$")],
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")],
        Annotated[str, AfterValidator(_channel)],
        _Id,
        Annotated[str, Field(pattern="^(?:high|medium|low)?$")],
        Annotated[str, Field(pattern="^(?:info|success|warning|error)?$")],
        _Number,
        _Number,
        Annotated[int, Field(ge=0, le=MOST_ATTEMPTS)],
        _Number,
        _Id,
        Annotated[list[_Happening], Field(max_length=1000)],
    ]
)


@dataclass(slots=True)
class Decoded:
    """Holds the reports of a message that are valid, and the others, each with what is wrong.

    ``problem`` says what is wrong with the message as a whole, '' if it can be read.
    """

    reports: list[Report] = field(default_factory=list)
    invalid: list[tuple[Any, str]] = field(default_factory=list)
    problem: str = ""


def encode(reports: Sequence[Any]) -> bytes:
    """Returns the message that tells these reports."""
    return orjson.dumps({"v": VERSION, "reports": reports})


def decode(body: bytes) -> Decoded:
    """Reads a message. It raises nothing, for any bytes."""
    if len(body) > MOST_BYTES:
        return Decoded(problem=f"{len(body)} bytes; at most {MOST_BYTES} are read")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        return Decoded(problem=f"not JSON: {exc}")
    if not isinstance(document, dict) or not isinstance(document.get("reports"), list):
        return Decoded(problem="not an object with a list of reports")
    if document.get("v") != VERSION:
        return Decoded(problem=f"version {document.get('v')!r}; this program reads version {VERSION}")
    decoded = Decoded()
    for report in document["reports"]:
        try:
            decoded.reports.append(_REPORT.validate_python(report, strict=False))
        except ValidationError as exc:
            decoded.invalid.append((report, _problems(exc)))
    return decoded


def _problems(error: ValidationError) -> str:
    """Names the places that are wrong, and none of the values: they may be personal."""
    shown: Iterable[str] = (f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors(include_url=False)[:5])
    return "; ".join(shown)
