"""Tests what the e-mail providers ask of a server or vendor: from whom, to whom, and what."""

import orjson
import pytest

from services.email import sendgrid, smtp
from shared.errors import BadSettings
from shared.providers.urls import Builder
from tests.support.messages import PAYLOAD, RECIPIENT, built, message, refusing

SMTP: tuple[Builder, str] = (smtp.build, "smtp://mail.example:25?from=")
SENDGRID: tuple[Builder, str] = (sendgrid.build, "sendgrid://SG.key@?from=")
FROM = "Team%20%40%20Acme%20%3Cnotify@acme.example%3E"


@pytest.mark.parametrize("text", ["a@faß.de", "\u202aa@fa\u200bß.de\u202c"])
def test_a_domain_is_sent_in_ascii(text: str) -> None:
    mail = built(SMTP[0], SMTP[1] + FROM).prepare(message(text))
    assert mail.recipient == "a@xn--fa-hia.de"
    assert b"\r\nTo: a@xn--fa-hia.de\r\n" in mail.content
    request = orjson.loads(built(SENDGRID[0], SENDGRID[1] + FROM).prepare(message(text)))
    assert request["personalizations"][0]["to"] == [{"email": "a@xn--fa-hia.de"}]


@pytest.mark.parametrize("provider", [SMTP, SENDGRID])
@pytest.mark.parametrize("target", ["a@b＞.example", "nobody", "a@b.example\r\nBcc: c@d.example", "a@b, c@d"])
def test_a_target_that_is_no_address_is_refused_without_a_call(provider: tuple[Builder, str], target: str) -> None:
    made = built(provider[0], provider[1] + FROM)
    with refusing(RECIPIENT) as caught:
        made.prepare(message(target))
    assert target not in str(caught.value)


def test_the_senders_name_is_one_name() -> None:
    mail = built(SMTP[0], SMTP[1] + FROM).prepare(message("a@b.example"))
    assert mail.sender == "notify@acme.example"
    assert mail.content.startswith(b'From: "Team @ Acme" <notify@acme.example>\r\n')
    request = orjson.loads(built(SENDGRID[0], SENDGRID[1] + FROM).prepare(message("a@b.example")))
    assert request["from"] == {"email": "notify@acme.example", "name": "Team @ Acme"}


@pytest.mark.parametrize("provider", [SMTP, SENDGRID])
@pytest.mark.parametrize(
    "sender", ["nobody", "Team%20a@b.example", "%3D?utf-8?q?x?%3D%20%3Ca@b.example%3E", "x%0D%0Ay%20%3Ca@b.example%3E"]
)
def test_a_sender_that_no_mail_can_have_is_a_bad_setting(provider: tuple[Builder, str], sender: str) -> None:
    with pytest.raises(BadSettings, match="option from"):
        built(provider[0], provider[1] + sender.replace("?", "%3F"))


def test_sendgrid_gets_no_empty_part_and_no_subject_that_readers_would_decode() -> None:
    made = built(SENDGRID[0], SENDGRID[1] + FROM)
    parts = orjson.loads(made.prepare(message("a@b.example", body="", html="<p>Hi</p>")))["content"]
    assert parts == [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}]
    parts = orjson.loads(made.prepare(message("a@b.example", body=" ", html="<img src=x>")))["content"]
    assert parts == [{"type": "text/html", "value": "<img src=x>"}]
    with refusing(PAYLOAD):
        made.prepare(message("a@b.example", subject="Hi =?utf-8?q?x=0d=0aReply-To:_e?="))
