"""Adds checks to schemathesis' own, for rules about notifications that JSON Schema cannot express."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemathesis import Case, CheckContext, CheckFunction, Response

from gateway.accept.candidate import RESERVED_BY_FCM, RESERVED_FOR_OURS
from shared.message.channels import CHANNELS
from shared.message.email_address import LOOKS_LIKE_ANOTHER, NOT_A_DOMAIN, TOO_LONG
from shared.message.phone_number import NO_COUNTRY, NOT_A_NUMBER

ACCEPTED = 202
_NOTIFICATION, _BATCH = "POST /notifications", "POST /notifications/batch"
#: refusals of requests that the document allows: they depend on earlier requests, on an item of another field, on a
#: value at any depth of an object that is passed through, or on tables of numbers and domain names
_BEYOND_THE_SCHEMA = {
    "was used for another notification",
    "a request with this request_id is being worked on",
    "the integer is beyond 64 bits",
    *(f"required for {channel}" for channel in CHANNELS),
    # An invisible character counts in the schema, and is removed.
    "must not be empty",
    *(NOT_A_NUMBER, NO_COUNTRY),
    *(NOT_A_DOMAIN, LOOKS_LIKE_ANOTHER, TOO_LONG),
    *(RESERVED_BY_FCM, RESERVED_FOR_OURS),
}

#: schemathesis' own checks would report these statuses as faults; the checks below judge them instead
EXPECTED_STATUSES: list[dict[str, Any]] = [
    {
        "include-path": ["/notifications", "/notifications/batch"],
        "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "202", "400", "422"]}},
    },
    {
        "include-name": _BATCH,
        "checks": {"negative_data_rejection": {"expected-statuses": ["200", "400", "401", "405", "413", "415", "422"]}},
    },
]


def nothing_allowed_is_refused(_ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Checks that a request that the document allows is refused only for a rule that JSON Schema cannot express."""
    if case.operation.label in (_NOTIFICATION, _BATCH) and _is_positive(case):
        for problem in _problems(response, case):
            for error in problem["errors"] or [problem]:
                assert error["detail"] in _BEYOND_THE_SCHEMA, error


def nothing_forbidden_is_accepted(_ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Checks that a request that breaks the document is refused, or in a batch, answered 200, at least one item."""
    if (
        case.operation.label == _BATCH
        and case.method == "POST"
        and response.status_code == 200
        and not _is_positive(case)
    ):
        assert any(result["status"] != ACCEPTED for result in response.json()["results"])


CHECKS: list[CheckFunction] = [nothing_allowed_is_refused, nothing_forbidden_is_accepted]


def _is_positive(case: Case[Any]) -> bool:
    return case.method == "POST" and case.meta is not None and case.meta.generation.mode.is_positive


def _problems(response: Response, case: Case[Any]) -> Iterator[dict[str, Any]]:
    if response.status_code in (400, 422):
        yield response.json()
    elif case.operation.label == _BATCH:
        yield from (result["error"] for result in response.json()["results"] if "error" in result)
