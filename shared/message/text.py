"""Decides which characters a text may hold: the one place that knows control, zero-width and bidirectional characters.

| characters | text of several lines, one line | identifier | address |
| --- | --- | --- | --- |
| control characters (C0, DEL, C1) | refused; tab and line breaks pass in a text of several lines | refused | refused |
| bidirectional embeddings, overrides and isolates | removed | refused | removed |
| zero-width space, word joiner, byte order mark and the like | removed | refused | removed |
| direction marks (LRM, RLM, ALM) | removed, unless the text has right-to-left letters | refused | removed |
| joiners (ZWJ, ZWNJ) | removed at the start and behind ASCII; emoji and scripts need the others | refused | kept |

Removed characters are invisible: they make a text look like another one (https://www.unicode.org/reports/tr36/), and
they stick to what people copy. An identifier is compared character by character, so nothing may be removed from it. A
joiner in an address is left to the rules of the address (RFC 5892 allows some in domain names).
"""

from __future__ import annotations

import re

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_CONTROL_IN_TEXT = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_HIDING = r"\u180e\u200b\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_MARKS = r"\u061c\u200e\u200f"
_JOINERS = r"\u200c\u200d"
_RIGHT_TO_LEFT = r"\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"

#: The same rules for the OpenAPI document, as classes of characters that a value must not contain.
FORBIDDEN_IN_LINE = _CONTROL.replace(r"\x", r"\u00")
FORBIDDEN_IN_TEXT = _CONTROL_IN_TEXT.replace(r"\x", r"\u00")
FORBIDDEN_IN_IDENTIFIER = FORBIDDEN_IN_LINE + _HIDING + _MARKS + _JOINERS

_find_control = re.compile(f"[{_CONTROL}]").search
_find_control_in_text = re.compile(f"[{_CONTROL_IN_TEXT}]").search
_remove_control_in_text = re.compile(f"[{_CONTROL_IN_TEXT}]").sub
_find_surrogate = re.compile("[\ud800-\udfff]").search
_find_invisible = re.compile(f"[{_HIDING}{_MARKS}{_JOINERS}]").search
_find_right_to_left = re.compile(f"[{_RIGHT_TO_LEFT}]").search
_without_hiding = re.compile(f"[{_HIDING}]").sub
_without_hiding_and_marks = re.compile(f"[{_HIDING}{_MARKS}]").sub
_without_stray_joiners = re.compile(rf"(?<![^\x00-\x7f])[{_JOINERS}]+").sub


def has_control(value: str) -> bool:
    """Tells whether ``value`` has a line break or a control character."""
    return _find_control(value) is not None


def without_controls(value: str) -> str:
    """Removes the control characters from a text of several lines, for example from one that was made from HTML."""
    return _remove_control_in_text("", value)


def one_line(value: str) -> str:
    """Returns ``value`` as one line that people read. Raises ValueError for a line break or a control character."""
    if _is_harmless(value):
        return value
    if _find_control(value):
        raise ValueError("must not contain line breaks or control characters")
    return _shown(value)


def plain_text(value: str) -> str:
    """Returns ``value`` as a text of several lines. Raises ValueError if it has another control character than tab."""
    if _is_harmless(value):
        return value
    if _find_control_in_text(value):
        raise ValueError("must not contain control characters")
    return _shown(value)


def identifier(value: str) -> str:
    """Returns ``value`` unchanged. Raises ValueError if it has a line break, a control or an invisible character.

    A lone surrogate, which ``json`` reads and UTF-8 cannot hold, is no character at all.
    """
    if _is_harmless(value):
        return value
    if _find_control(value):
        raise ValueError("must not contain line breaks or control characters")
    if not value.isascii() and _find_invisible(value):
        raise ValueError("must not contain invisible characters (zero-width or bidirectional)")
    if not value.isascii() and _find_surrogate(value):
        raise ValueError("must not contain lone surrogates")
    return value


def address(value: str) -> str:
    """Returns ``value`` without invisible characters except joiners. Raises ValueError for a control character."""
    if _is_harmless(value):
        return value
    if _find_control(value):
        raise ValueError("must not contain line breaks or control characters")
    return value if value.isascii() else _without_hiding_and_marks("", value)


def _is_harmless(value: str) -> bool:
    """Tells whether ``value`` has only ASCII characters from space to tilde, to which no rule objects.

    Most values are like that, and these two methods are several times as fast as a search.
    """
    return value.isascii() and value.isprintable()


def _shown(value: str) -> str:
    if value.isascii() or not _find_invisible(value):
        return value
    remove = _without_hiding if _find_right_to_left(value) else _without_hiding_and_marks
    return _without_stray_joiners("", remove("", value))
