"""Tests which characters a text keeps, loses, or is refused for."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message.text import FORBIDDEN_IN_IDENTIFIER, address, identifier, one_line, plain_text

HIDDEN = "\u200b\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u180e\ufeff"
MARKS = "\u200e\u200f\u061c"
RULES = [one_line, plain_text, identifier, address]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x80", "\x85", "\x9b", "\x9f"])
def test_control_characters_are_refused_everywhere(rule: Callable[[str], str], character: str) -> None:
    with pytest.raises(ValueError, match="control"):
        rule(f"a{character}b")


@pytest.mark.parametrize("end", ["\n", "\r", "\t", "\u2028", "\u2029"])
def test_line_breaks_and_tabs_are_for_texts_of_several_lines(end: str) -> None:
    assert plain_text(f"a{end}b") == f"a{end}b"
    for rule in (one_line, identifier, address):
        with pytest.raises(ValueError, match="line breaks"):
            rule(f"a{end}b")


@pytest.mark.parametrize("character", [*HIDDEN, *MARKS])
def test_invisible_characters_are_removed_and_an_identifier_with_one_is_refused(character: str) -> None:
    for rule in (one_line, plain_text, address):
        assert rule(f"{character}a{character}b{character}") == "ab"
    with pytest.raises(ValueError, match="invisible"):
        identifier(f"a{character}b")


@pytest.mark.parametrize("text", ["👩\u200d🚀 ❤\ufe0f\u200d🔥", "می\u200cخواهم", "שלום \u200e+1\u200f", "क्\u200dष"])
def test_what_emoji_and_scripts_need_is_kept(text: str) -> None:
    assert one_line(text) == text
    assert plain_text(text) == text


@pytest.mark.parametrize("text", ["pay\u200dpal", "\u200cpay\u200c\u200dpal", "pay\u202e\u200dpal"])
def test_joiners_that_join_nothing_are_removed(text: str) -> None:
    assert one_line(text) == "paypal"


@given(st.text())
def test_a_rule_applied_twice_is_the_same_as_once(text: str) -> None:
    for rule in RULES:
        try:
            once = rule(text)
        except ValueError:
            continue
        assert rule(once) == once
        assert not set(once) & set(HIDDEN)


@given(st.text() | st.text(st.sampled_from([*HIDDEN, *MARKS, "\u200d", "\x85", "a"])))
def test_the_published_pattern_is_the_rule_of_an_identifier(text: str) -> None:
    try:
        identifier(text)
        allowed = True
    except ValueError:
        allowed = False
    assert bool(re.fullmatch(f"[^{FORBIDDEN_IN_IDENTIFIER}]*", text)) is allowed


@pytest.mark.parametrize("half", ["\ud800", "\udfff", "a\udcffb"])
def test_half_a_character_is_no_part_of_an_identifier(half: str) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        identifier(half)
