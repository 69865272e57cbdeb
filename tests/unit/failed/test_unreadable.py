"""Tests what an operator sees of a body that is no envelope."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from shared.broker.browse import Taken
from shared.failed.results import UnreadableBody
from shared.failed.unreadable import MAX_DEPTH, read_envelope, unreadable_body

ANY: Any = None


def shown(body: bytes, headers: Mapping[str, Any] | None = None, *, reveal: bool = False) -> UnreadableBody:
    return unreadable_body(
        Taken(body, headers or {}, "", "push", None, "text/plain", "utf-8\x1b", ANY, 1), reveal=reveal
    )


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize("body", [b"", b"[1]", b"7", b"{", b"\xff", nested(MAX_DEPTH + 1), nested(260), nested(5_000)])
def test_a_body_that_is_no_envelope_is_none(body: bytes) -> None:
    assert read_envelope(body) is None


def test_the_deepest_envelope_is_read() -> None:
    assert read_envelope(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"not json", "not json"),
        (b"a\n\tb\\", r"a\n" + "\t" + r"b\\"),
        (b"a\x1b[2J", r"a\x1b[2J"),
        ("ü€🚀\u202e".encode(), "ü€🚀\\u202e"),
        (b"<phone>+44 7700 900123</phone>", "<phone>***23</phone>"),
        (b'{"email": "ada@example.com",}', '{"email": "a***@example.com",}'),
        (b'{"push_tokens": ["dGhpcyBpcyBhIHRva2VuIG9mIGEgZGV2aWNl"],}', '{"push_tokens": ["***Nl"],}'),
        (b"a@b, 555 1234567b@c.d (x@y)", "a***@b, 555 1***@c.d (x***@y)"),
        (b"", ""),
    ],
)
def test_a_text_is_shown_printable_and_masked(body: bytes, text: str) -> None:
    assert (shown(body).text, shown(body).complete) == (text, True)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b'{"email": "ada@example.com"}', mtime=0), "ada@example.com, Ada".encode("utf-16"), bytes(40)],
    ids=["gzip", "UTF-16", "zeros"],
)
def test_of_bytes_that_are_no_text_only_the_beginning_is_shown_unless_revealed(body: bytes) -> None:
    masked, revealed = shown(body), shown(body, reveal=True)
    assert not masked.complete
    assert revealed.complete
    assert revealed.text.startswith(masked.text)
    assert "example" not in masked.text
    assert revealed.text.encode().decode("unicode_escape").encode("latin-1") == body


def test_headers_and_encoding_are_printable_short_and_masked() -> None:
    headers = {
        "note": "\x1b]0;y" + "z z" * 500,
        "sender": "ada@example.com",
        "raw": b"\xff\x00",
        "number": 7,
        "\x9b\u202e": 1,
    }
    found = shown(b"x", headers)
    assert found.content_encoding == r"utf-8\x1b"
    assert found.headers["note"].startswith(r"\x1b]0;yz z")
    assert len(found.headers["note"]) == 256
    assert found.headers["sender"] == "a***@example.com"
    assert (found.headers["raw"], found.headers["number"]) == (r"\xff\x00", "7")
    assert found.headers[r"\x9b\u202e"] == "1"
    assert shown(b"x", headers, reveal=True).headers["sender"] == "ada@example.com"


def test_a_long_text_is_cut() -> None:
    assert not shown(b"a b " * 20_000).complete
    assert len(shown(b"a b " * 20_000).text) == 65_536


@pytest.mark.parametrize("letters", [b".", b"a.", b"!", b"1(", b"@", b"@ ", "\u00e9".encode()], ids=repr)
def test_a_text_without_spaces_is_masked_as_fast_as_any_other(letters: bytes) -> None:
    """Compares the time on the CPU: it grew with the square of the length, and 64 KiB took a minute."""

    def took_s(body: bytes) -> float:
        began = time.thread_time()
        shown(body[:32_768], {"note": body[:32_768].decode(errors="replace")})
        return time.thread_time() - began

    usual_s = min(took_s(b"a word and " * 3_000) for _ in range(3))
    assert took_s(letters * 32_768) < 40 * usual_s + 0.1
