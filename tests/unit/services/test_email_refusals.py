import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.email import sendgrid, smtp
from services.email.smtp_session import Stage
from shared.errors import Refusal
from shared.http.client import Response
from tests.support.messages import BEYOND, DOWN, OURS, PAYLOAD, QUOTA, RECIPIENT, THROTTLED


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        ("rcpt", 550, "5.1.1 <a@b>: User unknown", RECIPIENT),
        ("rcpt", 550, "no such user", RECIPIENT),
        ("rcpt", 551, "User not local", RECIPIENT),
        ("rcpt", 553, "5.1.3 bad syntax", RECIPIENT),
        ("rcpt", 556, "5.1.10 null MX", RECIPIENT),
        ("rcpt", 550, "5.7.1 relaying denied", BEYOND),
        ("rcpt", 552, "5.2.2 mailbox full", BEYOND),
        ("rcpt", 554, "no", PAYLOAD),
        ("rcpt", 450, "4.2.0 greylisted", BEYOND),
        ("rcpt", 451, "4.7.1 greylisted", BEYOND),
        ("rcpt", 451, "4.3.0 local error", DOWN),
        ("rcpt", 452, "4.3.1 out of space", DOWN),
        ("rcpt", 421, "4.7.0 too fast", THROTTLED),
        ("mail", 550, "5.7.1 sender refused", OURS),
        ("mail", 553, "5.1.8 sender domain", OURS),
        ("mail", 552, "5.3.4 too big", PAYLOAD),
        ("mail", 530, "5.7.0 authentication required", OURS),
        ("mail", 554, "5.7.28 flood", QUOTA),
        ("data", 554, "5.6.0 content refused", PAYLOAD),
        ("data", 554, "no", PAYLOAD),
        ("data", 550, "5.7.1 spam", PAYLOAD),
        ("data", 550, "5.7.26 no SPF, no DKIM", BEYOND),
        ("data", 552, "5.3.4 too big", PAYLOAD),
        ("data", 550, "5.1.1 found out late", RECIPIENT),
        ("data", 451, "4.4.1 later", DOWN),
        ("data", 421, "closing", THROTTLED),
        ("auth", 535, "5.7.8 bad password", OURS),
        ("auth", 534, "5.7.9 too weak", OURS),
        ("auth", 454, "4.7.0 try later", DOWN),
        ("auth", 421, "too many", DOWN),
        ("connect", 421, "too many connections", DOWN),
        ("connect", 554, "no service", DOWN),
        ("data", -1, "gibberish", DOWN),
        ("rcpt", 503, "5.5.1 out of order", DOWN),
    ],
)
def test_each_reply_has_its_verdict(stage: Stage, code: int, text: str, expected: Refusal) -> None:
    assert smtp.classify(stage, code, text).refusal == expected


def test_the_text_names_codes_and_never_the_address() -> None:
    assert str(smtp.classify("rcpt", 550, "5.1.1 <a@b.example>: unknown")) == "smtp rcpt 550 5.1.1"
    assert str(smtp.classify("rcpt", 550, "<a@b.example>: unknown")) == "smtp rcpt 550"


@given(st.sampled_from(["mail", "rcpt", "data"]), st.integers(400, 499), st.text())
def test_a_temporary_reply_never_dead_letters_a_message(stage: Stage, code: int, text: str) -> None:
    assert smtp.classify(stage, code, text).refusal in (DOWN, BEYOND, THROTTLED)


def sendgrid_answer(status: int, *fields: str | None) -> Response:
    return Response(
        status, {"retry-after": "4"}, orjson.dumps({"errors": [{"message": "m", "field": f} for f in fields]})
    )


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (sendgrid_answer(400, "personalizations.0.to.0.email"), RECIPIENT),
        (sendgrid_answer(400, "from.email"), OURS),
        (sendgrid_answer(400, "subject"), PAYLOAD),
        (sendgrid_answer(400, "content.0.value", "subject"), PAYLOAD),
        (sendgrid_answer(400, None), DOWN),
        (sendgrid_answer(401, None), OURS),
        (sendgrid_answer(403, "from"), OURS),
        (sendgrid_answer(413, None), PAYLOAD),
        (sendgrid_answer(429, None), QUOTA),
        (sendgrid_answer(503, None), DOWN),
        (Response(400, {}, b"<html>"), DOWN),
        (Response(302, {}, b""), DOWN),
    ],
)
def test_sendgrid_decides_by_status_and_field(response: Response, expected: Refusal) -> None:
    assert sendgrid.refused(response).refusal == expected


@pytest.mark.parametrize("written", [True, False])
def test_only_a_refusal_after_the_whole_message_may_hide_a_delivery(written: bool) -> None:
    assert smtp.classify("data", 451, "4.3.0 local error", written=written).handed_over is written


@pytest.mark.parametrize(("status", "handed_over"), [(500, True), (503, True), (400, False), (429, False)])
def test_a_failure_of_sendgrid_itself_may_hide_a_delivery(status: int, handed_over: bool) -> None:
    assert sendgrid.refused(Response(status, {}, b"")).handed_over is handed_over
