import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.email import sendgrid
from services.email.smtp_refusals import classify
from services.email.smtp_session import Stage
from shared.errors import Refusal
from shared.http.client import Response
from tests.support.messages import BEYOND, DOWN, NOT_HERE, OURS, PAYLOAD, QUOTA, RATE, RECIPIENT, THROTTLED, UNPROVEN


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        ("rcpt", 550, "5.1.1 <a@b>: User unknown", RECIPIENT),
        ("rcpt", 550, "no such user", RECIPIENT),
        ("rcpt", 551, "User not local", RECIPIENT),
        ("rcpt", 553, "5.1.3 bad syntax", RECIPIENT),
        ("rcpt", 556, "5.1.10 null MX", RECIPIENT),
        ("rcpt", 500, "5.5.2 syntax error", RECIPIENT),
        ("rcpt", 501, "5.5.4 invalid argument", RECIPIENT),
        ("rcpt", 500, "syntax error", RECIPIENT),
        ("rcpt", 501, "syntax error in parameters", RECIPIENT),
        ("rcpt", 553, "mailbox name not allowed", RECIPIENT),
        ("rcpt", 555, "parameters not recognized", RECIPIENT),
        ("rcpt", 550, "no", UNPROVEN),
        ("rcpt", 550, "5.7.1 access denied", UNPROVEN),
        ("rcpt", 521, "5.3.2 no mail here", DOWN),
        ("rcpt", 552, "5.2.2 mailbox full", BEYOND),
        ("rcpt", 554, "no", UNPROVEN),
        ("rcpt", 451, "try again later", BEYOND),
        ("rcpt", 451, "Temporary local problem - please try later", BEYOND),
        ("rcpt", 452, "4.2.1 receiving mail at a rate that prevents delivery", BEYOND),
        ("rcpt", 451, "4.3.0 greylisted, come back in 5 minutes", BEYOND),
        ("rcpt", 450, "4.2.0 greylisted", BEYOND),
        ("rcpt", 451, "4.7.1 greylisted", BEYOND),
        ("rcpt", 451, "4.3.0 local error", DOWN),
        ("rcpt", 452, "4.3.1 out of space", DOWN),
        ("rcpt", 421, "4.7.0 too fast", RATE),
        ("mail", 550, "5.7.1 sender refused", OURS),
        ("mail", 553, "5.1.8 sender domain", OURS),
        ("mail", 552, "5.3.4 too big", PAYLOAD),
        ("mail", 530, "5.7.0 authentication required", OURS),
        ("mail", 550, "5.1.1 unknown", OURS),
        ("mail", 450, "4.2.0 later", DOWN),
        ("mail", 451, "4.7.1 later", DOWN),
        ("mail", 554, "5.7.28 flood", QUOTA),
        ("data", 554, "5.6.0 content refused", PAYLOAD),
        ("data", 554, "no", UNPROVEN),
        ("data", 550, "5.7.1 spam", UNPROVEN),
        ("data", 550, "5.6.7 no UTF-8 here", NOT_HERE),
        ("data", 552, "message size exceeds the fixed limit", PAYLOAD),
        ("data", 552, "no", UNPROVEN),
        ("data", 550, "no such user here", RECIPIENT),
        ("data", 451, "try again later", DOWN),
        ("data", 550, "5.7.26 no SPF, no DKIM", BEYOND),
        ("data", 552, "5.3.4 too big", PAYLOAD),
        ("data", 550, "5.1.1 found out late", RECIPIENT),
        ("data", 451, "4.4.1 later", DOWN),
        ("data", 421, "closing", THROTTLED),
        ("auth", 535, "5.7.8 bad password", OURS),
        ("auth", 534, "5.7.9 too weak", OURS),
        ("auth", 454, "4.7.0 try later", DOWN),
        ("auth", 421, "too many", DOWN),
        ("connect", 421, "too many connections", RATE),
        ("connect", 421, "4.3.2 shutting down", DOWN),
        ("connect", 554, "no service", DOWN),
        ("data", -1, "gibberish", DOWN),
        ("rcpt", 503, "5.5.1 out of order", DOWN),
    ],
)
def test_each_reply_has_its_verdict(stage: Stage, code: int, text: str, expected: Refusal) -> None:
    assert classify(stage, code, text).refusal == expected


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        ("data", 550, "5.4.5 Daily sending quota exceeded", QUOTA),
        ("data", 550, "5.4.5 Daily SMTP relay limit exceeded for user", QUOTA),
        ("data", 550, "5.4.6 Unusual sending activity detected. Please try after sometime", QUOTA),
        ("rcpt", 550, "5.1.90 Your message can't be sent because you've reached your daily limit", QUOTA),
        ("data", 454, "Throttling failure: Daily message quota exceeded.", QUOTA),
        ("data", 451, "You have exceeded your messaging limits", QUOTA),
        ("data", 451, "Authentication failed: Maximum credits exceeded", QUOTA),
        ("data", 454, "Throttling failure: Maximum sending rate exceeded.", RATE),
        ("data", 454, "Throttling failure", RATE),
        ("mail", 450, "4.7.1 Error: too much mail from 192.0.2.1", RATE),
        ("rcpt", 452, "4.5.3 Too many messages, slow down", RATE),
        ("data", 550, "5.7.1 sending rate limit exceeded", RATE),
        ("data", 554, "5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", OURS),
        ("data", 550, "5.7.1 Client not permitted to send as this sender", OURS),
        ("data", 550, "5.7.60 SMTP; Client does not have permissions to send as this sender", OURS),
        ("data", 554, "Message rejected: Email address is not verified. The following identities failed", OURS),
        ("data", 550, "The from address does not match a verified Sender Identity", OURS),
        ("data", 550, "Unauthenticated senders not allowed", OURS),
        ("data", 554, "5.7.1 Sending suspended for this account", OURS),
        ("data", 550, "5.7.1 Your account has been disabled", OURS),
        ("rcpt", 550, "relay not permitted", OURS),
        ("rcpt", 550, "5.7.1 relaying denied", OURS),
        ("rcpt", 550, "5.7.64 TenantAttribution; Relay Access Denied", OURS),
        ("rcpt", 550, "5.7.54 SMTP; Unable to relay recipient in non-accepted domain", OURS),
        ("rcpt", 553, "5.7.1 Sender address rejected: not owned by user ada", OURS),
        ("rcpt", 553, "sorry, that domain isn't allowed to be relayed thru this MTA", OURS),
        ("rcpt", 550, "5.4.1 Relay access denied", OURS),
        ("rcpt", 550, "Sender verify failed", OURS),
    ],
)
def test_what_blames_the_account_is_not_taken_for_the_recipients_or_the_contents_fault(
    stage: Stage, code: int, text: str, expected: Refusal
) -> None:
    assert classify(stage, code, text).refusal == expected


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        ("rcpt", 550, "5.1.1 <relay-not-permitted@a.example>: User unknown", RECIPIENT),
        ("rcpt", 550, "<relay-not-permitted@a.example>: refused", UNPROVEN),
        ("rcpt", 550, "host mx.evil.example said: 550 daily sending quota exceeded", UNPROVEN),
        ("rcpt", 550, "Verification failed\nResponse: 550 relay not permitted", UNPROVEN),
        ("rcpt", 552, "5.2.2 The account that you tried to reach is over quota", BEYOND),
        ("rcpt", 452, "user over quota", BEYOND),
        ("rcpt", 550, "5.2.1 The email account that you tried to reach is disabled", RECIPIENT),
        ("rcpt", 550, "5.4.1 Recipient address rejected: Access denied", RECIPIENT),
        ("rcpt", 550, "this account has been disabled", UNPROVEN),
        ("data", 552, "5.3.4 Message exceeds your daily size limit", PAYLOAD),
        ("data", 550, "5.7.26 unauthenticated sender, no SPF, no DKIM", BEYOND),
    ],
)
def test_what_the_recipient_can_choose_does_not_blame_the_account(
    stage: Stage, code: int, text: str, expected: Refusal
) -> None:
    assert classify(stage, code, text).refusal == expected


def test_a_hostile_reply_is_read_in_a_moment() -> None:
    began = time.process_time()
    for word in ("relay ", "sender ", "x", "not ", "daily ", "limit ", "@<", "said"):
        classify("data", 550, "5.7.1 " + word * 100_000)
    assert time.process_time() - began < 0.5


def test_the_text_names_codes_and_never_the_address() -> None:
    assert str(classify("rcpt", 550, "5.1.1 <a@b.example>: unknown")) == "smtp rcpt 550 5.1.1"
    assert str(classify("rcpt", 550, "<a@b.example>: unknown")) == "smtp rcpt 550"


@given(st.sampled_from(["mail", "rcpt", "data"]), st.integers(400, 499), st.text())
def test_a_temporary_reply_never_dead_letters_a_message(stage: Stage, code: int, text: str) -> None:
    assert classify(stage, code, text).refusal in (DOWN, BEYOND, THROTTLED, RATE, QUOTA)


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
        (sendgrid_answer(429, None), RATE),
        (sendgrid_answer(400, "mail_settings", "subject"), UNPROVEN),
        (sendgrid_answer(503, None), DOWN),
        (Response(400, {}, b"<html>"), DOWN),
        (Response(302, {}, b""), DOWN),
    ],
)
def test_sendgrid_decides_by_status_and_field(response: Response, expected: Refusal) -> None:
    assert sendgrid.refused(response).refusal == expected


@pytest.mark.parametrize("written", [True, False])
def test_only_a_refusal_after_the_whole_message_may_hide_a_delivery(written: bool) -> None:
    assert classify("data", 451, "4.3.0 local error", written=written).handed_over is written


@pytest.mark.parametrize(("status", "handed_over"), [(500, True), (503, True), (400, False), (429, False)])
def test_a_failure_of_sendgrid_itself_may_hide_a_delivery(status: int, handed_over: bool) -> None:
    assert sendgrid.refused(Response(status, {}, b"")).handed_over is handed_over
