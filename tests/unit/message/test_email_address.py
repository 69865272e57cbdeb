"""Tests which texts are e-mail addresses and mailboxes, and how they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message.email_address import Mailbox, parse_address, parse_mailbox

WRITTEN = re.compile(r"[^\s<>()\[\]\\,;:@\"\x00-\x1f\x7f-\x9f]+@[A-Za-z0-9_.-]+")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a@faß.de", "a@xn--fa-hia.de"),
        ("post@bücher.example", "post@xn--bcher-kva.example"),
        ("jürgen@BÜCHER.example", "jürgen@xn--bcher-kva.example"),
        ("a@ＥＸＡＭＰＬＥ。de", "a@example.de"),
        ("a@نامه\u200cای.com", "a@xn--mgba3gch31f060k.com"),
        ("a@my_host.ab--cd.example", "a@my_host.ab--cd.example"),
        ("\u202aada@example.org\u202c", "ada@example.org"),
        ("\ufeffada@exam\u200bple.org", "ada@example.org"),
        ("o'neil+x/y=z@example.org", "o'neil+x/y=z@example.org"),
    ],
)
def test_an_address_is_written_with_its_domain_in_ascii(text: str, written: str) -> None:
    assert str(parse_address(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a",
            "a@",
            "@b",
            "a b@c",
            "a@b\r\nRCPT TO:<x@y>",
            "a@b>",
            "a@b,c@d",
            "<a@b>",
            "a@b@c",
            '"a b"@c',
            "a@[::1]",
        ),
        *("a@" + "x" * 64 + ".y", "x" * 65 + "@b.example", "ü" * 33 + "@b.example", "a@" + "x.b" * 85),
        *("a@b＞.example", "a＞@b.example", "a@b\u0085.example", "a@b\x9b.example", "a@b＠c.example", "a@b／c.example"),
        *(
            "a@b..example",
            "a@b.example.",
            "a@-b.example",
            "a@b\u200dc.example",
            "a\u200d@b.example",
            "\u200b@b.example",
            "a@☃\u0338.example",
        ),
        *("=?utf-8?q?x?=@b.example", "a@=?utf-8?q?b?="),
    ],
)
def test_what_is_no_address_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as refused:
        parse_address(text)
    assert len(text) < 4 or text not in str(refused.value)


@given(st.text() | st.builds("{}@{}".format, st.text(min_size=1), st.text(min_size=1)))
def test_whatever_is_accepted_can_stand_in_a_command_and_a_header(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert WRITTEN.fullmatch(str(address))
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a@b.example", ""),
        ("<a@b.example>", ""),
        ("Shop <a@b.example>", "Shop"),
        ("Team @ Acme <a@b.example>", "Team @ Acme"),
        ('"Acme, Inc. (\\"x\\")" <a@b.example>', 'Acme, Inc. ("x")'),
        ("Müller & Söhne 🚀 <a@b.example>", "Müller & Söhne 🚀"),
    ],
)
def test_a_mailbox_has_a_name_and_an_address(text: str, name: str) -> None:
    assert parse_mailbox(text) == Mailbox(name, parse_address("a@b.example"))


@pytest.mark.parametrize(
    "text", ["", "Shop", "Shop <>", "Shop a@b.example", "x\r\nBcc: y <a@b.example>", "=?utf-8?q?x?= <a@b.example>"]
)
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_mailbox(text)
