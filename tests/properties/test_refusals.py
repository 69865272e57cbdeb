"""The providers' tables are total, and a message is given up only if it is proven hopeless.

``tests/unit/services/test_*_refusals.py`` hold the verdict of each documented answer. These properties try every row of
each table combined with anything else, everything that no table knows, and any bytes.
"""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.email import sendgrid
from services.email.smtp_refusals import classify
from services.email.smtp_session import Stage
from services.push import fcm
from services.sms import twilio, vonage
from shared.errors import Refusal, Refused
from shared.http.client import Response
from shared.providers.refusal import by_http_status
from tests.support.run.examples import examples

#: the message is given up after one of these
DEAD = {Refusal.RECIPIENT_INVALID, Refusal.PAYLOAD_REJECTED, Refusal.UNSUPPORTED, Refusal.REJECTED}
STATUSES = st.integers(100, 999)
#: HTTP statuses that have a meaning by themselves
TELLING = {400, 401, 403, 413, 429}
SILENT = STATUSES.filter(lambda status: status not in TELLING)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SHAPELESS = b'{"error": 1, "messages": 2, "errors": 3, "code": {}}'
DEEP = b"[" * 3_000 + b"]" * 3_000
NAMES = ("error", "details", "errorCode", "errors", "field", "code", "messages", "status", "error-text")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
    max_leaves=12,
)
BODIES = st.binary() | JSON.map(orjson.dumps) | st.dictionaries(st.sampled_from(NAMES), JSON).map(orjson.dumps)
#: for properties that are tried at every row
FEW = settings(max_examples=examples(12))


def answer(status: int, document: object, retry_after: str = "7") -> Response:
    return Response(status, {"retry-after": retry_after}, orjson.dumps(document))


def fcm_error(code: object, rpc: object, message: str) -> dict[str, Any]:
    return {"error": {"status": rpc, "message": message, "details": [{"errorCode": code}]}}


@given(st.integers())
def test_every_http_status_has_a_refusal(status: int) -> None:
    assert (by_http_status(status) is Refusal.UNAVAILABLE) == (status not in (401, 413, 429))


@pytest.mark.parametrize("code", fcm.BY_ERROR_CODE)
@FEW
@given(STATUSES, st.sampled_from([*fcm.BY_STATUS, "NEW"]), WORDS)
def test_fcms_own_code_decides_whatever_else_it_says(code: str, status: int, rpc: str, message: str) -> None:
    allowed = {fcm.BY_ERROR_CODE[code]}
    if code == "INVALID_ARGUMENT":
        allowed.add(Refusal.RECIPIENT_INVALID)
    found = fcm.refused(answer(status, fcm_error(code, rpc, message))).refusal
    assert found in allowed


@pytest.mark.parametrize("code", twilio.BY_CODE)
@FEW
@given(STATUSES)
def test_twilios_code_decides_whatever_http_says(code: int, status: int) -> None:
    refusal, _ = twilio.BY_CODE[code]
    assert twilio.refused(answer(status, {"code": code})).refusal == refusal


@pytest.mark.parametrize("code", vonage.BY_STATUS)
@FEW
@given(STATUSES, WORDS.filter(lambda text: not any(name in text for name in vonage.BY_PARAMETER)))
def test_vonages_status_decides_whatever_http_says(code: str, status: int, text: str) -> None:
    refusal, _ = vonage.BY_STATUS[code]
    error = vonage.refused(answer(status, {"messages": [{"status": code, "error-text": text}]}))
    assert error.refusal == refusal


@pytest.mark.parametrize("status", sendgrid.BY_STATUS)
@FEW
@given(WORDS)
def test_sendgrids_status_decides(status: int, field: str) -> None:
    error = sendgrid.refused(answer(status, {"errors": [{"field": field}]}))
    assert error.refusal == sendgrid.BY_STATUS[status]


@given(SILENT, WORDS.filter(lambda code: code not in fcm.BY_ERROR_CODE and code not in fcm.BY_STATUS), WORDS)
def test_what_fcms_table_does_not_know_is_never_given_up(status: int, code: str, message: str) -> None:
    assert fcm.refused(answer(status, fcm_error(code, code, message))).refusal not in DEAD


@given(SILENT, st.integers(-(2**53), 2**53).filter(lambda code: code not in twilio.BY_CODE) | WORDS | st.none())
def test_what_twilios_table_does_not_know_is_never_given_up(status: int, code: object) -> None:
    assert twilio.refused(answer(status, {"code": code})).refusal not in DEAD


@given(SILENT, WORDS.filter(lambda code: code not in vonage.BY_STATUS) | st.integers(0, 99) | st.none())
def test_what_vonages_table_does_not_know_is_never_given_up(status: int, code: object) -> None:
    assert vonage.refused(answer(status, {"messages": [{"status": code}]})).refusal not in DEAD


@given(SILENT, WORDS)
def test_what_sendgrids_table_does_not_know_is_never_given_up(status: int, field: str) -> None:
    assert sendgrid.refused(answer(status, {"errors": [{"field": field}]})).refusal not in DEAD


@given(st.sampled_from(get_args(Stage)), st.integers(-1, 99) | st.integers(200, 399) | st.integers(600, 999), WORDS)
def test_an_smtp_code_that_is_no_permanent_refusal_is_never_given_up(stage: Stage, code: int, text: str) -> None:
    # An enhanced code beside a basic code of another class would contradict it.
    assert classify(stage, code, f"reply {text}").refusal not in DEAD


@pytest.mark.parametrize("refused", [fcm.refused, sendgrid.refused, twilio.refused, vonage.refused])
@given(STATUSES | st.sampled_from([200, 400]), BODIES, st.text())
@example(400, DEEP, "7")
@example(400, b"\xff", "7")
@example(400, b"[]", "7")
@example(400, b"null", "7")
@example(400, SHAPELESS, "7")
def test_every_answer_becomes_one_of_our_errors(refused: Any, status: int, body: bytes, retry_after: str) -> None:
    assert isinstance(refused(Response(status, {"retry-after": retry_after}, body)), Refused)


@given(
    st.sampled_from(get_args(Stage)), st.integers(-1, 999), st.text() | st.from_regex(r"[245]\.\d{1,4}\.\d{1,4} \w+")
)
def test_every_smtp_reply_becomes_one_of_our_errors(stage: Stage, code: int, text: str) -> None:
    assert isinstance(classify(stage, code, text), Refused)
