"""Every text survives a mail's header, as a strict reader of RFC 2047 and a lenient one see it; none adds a field."""

from __future__ import annotations

import base64
import re
from email import message_from_bytes
from email.policy import default

from hypothesis import given, settings
from hypothesis import strategies as st

from services.email.mail.mime import compose
from shared.errors import Refusal, Refused
from shared.message.email_address import Mailbox, parse_address
from shared.message.text import one_line
from shared.providers.provider import Content, Message
from tests.support.run.examples import examples

TO = parse_address("ada@example.org")
FIELDS = ["From", "To", "Subject", "Date", "Message-ID", "X-Request-ID", "Auto-Submitted"]
OF_THE_BODY = {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
#: RFC 2047, 2: at most 75 characters in a word, at most 76 in a line that has one.
WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/]+={0,2})\?=", re.IGNORECASE)
WORD_CHARACTERS, LINE_CHARACTERS = 75, 76

LOOKS_ENCODED = st.builds(
    "=?{}?{}?{}?=".format,
    st.sampled_from(["utf-8", "us-ascii", "iso-8859-1", "x", "", "utf-8*en"]),
    st.sampled_from("bBqQx"),
    st.text("=0dDaA:_xA9+/ ?") | st.just("x=0d=0aReply-To:_evil=40a.example"),
)
PIECES = st.one_of(
    st.sampled_from(
        ["\r\n", "\n", "\r", "\r\n\r\n", "\r\n ", "\x85", "\u2028", "\x0b", "Bcc: x@y.example", "=?", "?=", '"', "\\"]
    ),
    st.sampled_from(
        [" ", "  ", "\t", "🚀", "👩\u200d🚀", "— für Müller & Söhne", "שלום", "word", "<", ">", "@", ",", "(", ";"]
    ),
    LOOKS_ENCODED,
    st.text(max_size=20),
    st.text("äöü🚀你", min_size=30, max_size=120),
    st.text("ab ", min_size=30, max_size=200),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def strictly_decoded(written: str) -> str:
    """Returns the text that RFC 2047 defines: words stand alone, and the white space between two of them goes.

    Fails for a word that is too long, or that holds part of a character.
    """
    unfolded = written.replace("\r\n", "")
    pieces = re.split(r"([ \t]+)", unfolded.strip(" \t"))
    words = [WORD.fullmatch(piece) for piece in pieces]
    if not any(words):
        assert "=?" not in unfolded
        return unfolded.removeprefix(" ")
    text = ""
    for index, (piece, word) in enumerate(zip(pieces, words, strict=True)):
        if word is not None:
            assert len(piece) <= WORD_CHARACTERS
            text += base64.b64decode(word[1], validate=True).decode()
        elif not (piece.isspace() and words[index - 1] and words[index + 1]):
            text += piece
    return text


def fields(mail: bytes) -> list[tuple[str, str]]:
    """Returns the header's fields as they are written."""
    head = mail.partition(b"\r\n\r\n")[0].decode("ascii")
    assert "\n" not in head.replace("\r\n", "") and "\r" not in head.replace("\r\n", "")
    pairs = [re.split(r":", field, maxsplit=1) for field in re.split(r"\r\n(?![ \t])", head)]
    return [(name, value) for name, value in pairs]


def is_line(text: str) -> bool:
    try:
        return one_line(text) is not None and text.encode() is not None
    except ValueError:
        return False


@given(TEXTS, TEXTS)
@settings(max_examples=examples(300))
def test_subject_and_name_come_back_and_nothing_else_comes(subject: str, name: str) -> None:
    sender = Mailbox(name, parse_address("notify@example.com"))
    try:
        mail = compose(Message("r-1", str(TO), Content("the body", subject=subject)), sender, TO)
    except Refused as refused:
        assert refused.refusal is Refusal.PAYLOAD_REJECTED
        assert not (is_line(subject) and is_line(name))
        return
    assert is_line(subject) and is_line(name)
    found = fields(mail)
    assert all(len(line) <= LINE_CHARACTERS for line in mail.split(b"\r\n") if b"=?" in line)
    head = mail.partition(b"\r\n\r\n")[0]
    assert all(line == line.rstrip() for line in head.split(b"\r\n") if line != b"Subject: ")
    assert [field for field, _ in found[: len(FIELDS)]] == FIELDS
    assert {field for field, _ in found[len(FIELDS) :]} <= OF_THE_BODY
    assert strictly_decoded(dict(found)["Subject"]) == subject
    assert _display_name(dict(found)["From"]) == name
    # Python's own reader is a lenient one: it decodes whatever looks like an encoded word, wherever it stands.
    lenient = message_from_bytes(mail, policy=default)
    assert lenient["Subject"] == subject
    (address,) = lenient["From"].addresses
    # In a display name it changes white space, also that between two encoded words, which it should drop.
    assert re.sub(r"\s", "", address.display_name) == re.sub(r"\s", "", name)
    assert address.addr_spec == "notify@example.com"
    assert lenient.get_content().strip() == "the body"


def _display_name(written: str) -> str:
    found = re.fullmatch(r"(.*)[ \t]<notify@example\.com>", written.replace("\r\n", ""), re.DOTALL)
    if found is None:
        assert written == " notify@example.com"
        return ""
    phrase = found[1].removeprefix(" ")
    if phrase.startswith('"'):
        assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', phrase)
        return re.sub(r"\\(.)", r"\1", phrase[1:-1])
    return strictly_decoded(phrase) if "=?" in phrase else _atoms(phrase)


def _atoms(phrase: str) -> str:
    assert re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+", phrase)
    return phrase
