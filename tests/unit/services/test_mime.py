from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.email.mime import compose
from services.email.smtp_session import dot_stuffed
from shared.errors import Refusal, Refused
from shared.providers.provider import Content, Message
from tests.support.messages import REQUEST_ID, message

SENDER = "Shop <notify@example.com>"


def composed(recipient: str = "ada@example.org", **content: Any) -> bytes:
    return compose(message(**content), SENDER, "example.com", recipient)


def read(raw: bytes) -> EmailMessage:
    mail = message_from_bytes(raw, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def test_text_and_html_are_alternatives_and_the_better_one_comes_last() -> None:
    mail = read(composed(body="plain words", html="<p>fine words</p>"))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_the_message_id_is_the_same_at_every_attempt_and_of_our_domain() -> None:
    first, second = read(composed()), read(composed())
    assert first["Message-ID"] == second["Message-ID"]
    assert str(first["Message-ID"]).endswith("@example.com>")
    assert first["X-Request-ID"] == REQUEST_ID


def test_the_longest_request_id_arrives_whole() -> None:
    longest = "x" * 128
    mail = read(compose(message(request_id=longest), SENDER, "example.com", "a@b.example"))
    assert str(mail["X-Request-ID"]).strip() == longest


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


def test_lines_end_in_crlf_and_are_short_enough_for_any_server() -> None:
    raw = composed(body="word " * 5000 + "\nx\r\ny\rz", subject="long " * 180)
    assert b"\n" not in raw.replace(b"\r\n", b"") and b"\r" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


@pytest.mark.parametrize("field", ["subject", "title"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_line_break_in_a_header_is_refused(field: str, end: str) -> None:
    with pytest.raises(Refused) as caught:
        composed(**{"title": "", field: f"Hello{end}Bcc: everybody@example.org"})
    assert caught.value.refusal is Refusal.PAYLOAD_REJECTED


TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT, TEXT, TEXT)
def test_any_content_is_composed_or_refused(subject: str, body: str, html: str) -> None:
    wanted = Message(REQUEST_ID, "a@b.example", Content(body, subject=subject, html=html))
    try:
        raw = compose(wanted, SENDER, "example.com", "a@b.example")
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
