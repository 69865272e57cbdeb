from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.email.mail import headers
from services.email.mail.mime import compose
from services.email.smtp_session import dot_stuffed
from shared.errors import Refusal, Refused
from shared.message.email_address import parse_address, parse_mailbox
from shared.providers.provider import Content, Message
from tests.support.messages import REQUEST_ID, message, refusing

SENDER = parse_mailbox("Shop <notify@example.com>")
MEANT_FIELDS = [headers.mailbox_field("To", parse_mailbox("C <c@d.example>")), headers.text_field("Subject", "Hi")]
MEANT = headers.header_block(MEANT_FIELDS) + b"MIME-Version: 1.0\r\n\r\nbody"


def composed(recipient: str = "ada@example.org", request_id: str = REQUEST_ID, **content: Any) -> bytes:
    return compose(message(request_id=request_id, **content), SENDER, parse_address(recipient))


def read(raw: bytes) -> EmailMessage:
    mail = message_from_bytes(raw, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def test_text_and_html_are_alternatives_and_the_better_one_comes_last() -> None:
    mail = read(composed(body="plain words", html="<p>fine words</p>"))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("body", ["", " \n"])
def test_html_without_text_brings_a_text_of_its_own(body: str) -> None:
    plain, html = read(composed(body=body, html="<p>fine <b>words</b></p>")).iter_parts()
    assert isinstance(plain, EmailMessage) and isinstance(html, EmailMessage)
    assert (plain.get_content().strip(), html.get_content().strip()) == ("fine words", "<p>fine <b>words</b></p>")


def test_html_without_any_text_goes_alone() -> None:
    assert read(composed(body="", html="<img src=x>")).get_content_type() == "text/html"


def test_the_message_id_is_the_same_at_every_attempt_and_of_our_domain() -> None:
    first, second = read(composed()), read(composed())
    assert first["Message-ID"] == second["Message-ID"]
    assert str(first["Message-ID"]).endswith("@example.com>")
    assert first["X-Request-ID"] == REQUEST_ID


def test_the_longest_request_id_arrives_whole() -> None:
    longest = "x" * 128
    assert str(read(composed(request_id=longest))["X-Request-ID"]).strip() == longest


def test_the_subject_defaults_to_the_title() -> None:
    assert read(composed(title="T"))["Subject"] == "T"
    assert read(composed(title="T", subject="S"))["Subject"] == "S"


def test_everything_is_seven_bit_whatever_is_written() -> None:
    raw = composed(subject="Grüße, 你好 🎉", body="äöü 你好", html="<p>🎉</p>")
    assert raw.isascii()
    mail = read(raw)
    assert mail["Subject"] == "Grüße, 你好 🎉"
    text = mail.get_body(("plain",))
    assert text is not None and text.get_content().strip() == "äöü 你好"


def test_only_an_address_that_needs_it_brings_utf8_into_the_headers() -> None:
    assert composed("jürgen@example.org").count("jürgen".encode()) == 1
    assert b"\r\nTo: a@xn--fa-hia.de\r\n" in composed("a@faß.de")


def test_lines_end_in_crlf_and_are_short_enough_for_any_server() -> None:
    raw = composed(body="word " * 5000 + "\nx\r\ny\rz", subject="long " * 180)
    assert b"\n" not in raw.replace(b"\r\n", b"") and b"\r" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


@pytest.mark.parametrize("field", ["subject", "title"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x85", "\u2028", "\x9b"])
def test_a_line_break_in_a_header_is_refused(field: str, end: str) -> None:
    with refusing(Refusal.PAYLOAD_REJECTED):
        composed(**{"title": "", field: f"Hello{end}Bcc: everybody@example.org"})


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?x=0d=0aReply-To:_evil=40a.example?=",
        "=?utf-8?q?x=0d=0a=0d=0aanother_body?=",
        "=?UTF-8?B?eA0KUmVwbHktVG86IGV2aWxAYS5leGFtcGxl?=",
        "=?us-ascii?Q?x=0AReply-To:_evil?= =?us-ascii?Q?y?=",
        "Ann =?utf-8?q?=0d=0a?=",
        "=?utf-8*en?q?x=0d=0aReply-To:_e?=",
    ],
)
def test_an_encoded_word_in_a_text_stays_a_text(name: str) -> None:
    raw = composed(subject=f"Welcome, {name}", body="the body")
    mail = read(raw)
    assert mail["Subject"] == f"Welcome, {name}"
    assert (mail["Reply-To"], mail.get_content().strip()) == (None, "the body")
    assert name.encode() not in raw


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", b"From: a@b.example\r\n"),
        ("Shop", b"From: Shop <a@b.example>\r\n"),
        ("Team @ Acme", b'From: "Team @ Acme" <a@b.example>\r\n'),
        ('Acme, "Inc."', b'From: "Acme, \\"Inc.\\"" <a@b.example>\r\n'),
        ("Grüße", b"From: =?utf-8?b?R3LDvMOfZQ==?= <a@b.example>\r\n"),
    ],
)
def test_the_senders_name_is_quoted_or_encoded_where_it_must_be(name: str, written: bytes) -> None:
    sender = parse_mailbox(f"{name} <a@b.example>")
    assert compose(message(), sender, parse_address("c@d.example")).startswith(written)


def test_a_header_that_reads_differently_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "text", lambda value: value)
    for subject in ("two  =?utf-8?q?words?=", "x\r\nReply-To: evil@a.example", "x\r\n\r\nanother body"):
        with refusing(Refusal.PAYLOAD_REJECTED) as caught:
            composed(subject=subject)
        assert "header" in str(caught.value)
        assert subject not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        MEANT.replace(b"Subject: Hi", b"Subject: Ho"),
        MEANT.replace(b"Subject: Hi\r\n", b""),
        MEANT.replace(b"Subject: Hi", b"X-Subject: Hi"),
        MEANT.replace(b"To: ", b"Reply-To: e@f.example\r\nTo: "),
        MEANT.replace(b"MIME-Version", b"Reply-To: e@f.example\r\nMIME-Version"),
        MEANT.replace(b"MIME-Version: 1.0", b"Subject: Hi\r\nMIME-Version: 1.0"),
        MEANT.replace(b"<c@d.example>", b"<c@d.example>, <e@f.example>"),
        MEANT.replace(b"To: ", b"\r\nTo: "),
    ],
)
def test_a_header_with_anything_but_what_was_meant_is_noticed(changed: bytes) -> None:
    headers.check_header(MEANT, MEANT_FIELDS)
    with pytest.raises(headers.NotAsMeant):
        headers.check_header(changed, MEANT_FIELDS)


TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT, TEXT, TEXT)
def test_any_content_is_composed_or_refused(subject: str, body: str, html: str) -> None:
    wanted = Message(REQUEST_ID, "a@b.example", Content(body, subject=subject, html=html))
    try:
        raw = compose(wanted, SENDER, parse_address("a@b.example"))
    except Refused:
        return
    assert raw.isascii()
    mail = read(raw)
    assert mail["To"] == "a@b.example" and mail["Bcc"] is None


@given(st.binary())
def test_dot_stuffed_content_ends_only_at_its_end(content: bytes) -> None:
    stuffed = dot_stuffed(content.replace(b"\r", b"").replace(b"\n", b"\r\n"))
    assert stuffed.endswith(b"\r\n.\r\n") or stuffed == b".\r\n"
    assert stuffed.find(b"\r\n.\r\n") in (-1, len(stuffed) - 5)
