"""Tests strict JSON: valid documents stay unchanged; those that two readers could read differently are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.strict_json import MAX_DEPTH, BadJson, parse_json

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@given(_DOCUMENTS, st.booleans())
def test_what_is_valid_is_read_as_it_was_written(document: Any, ascii_only: bool) -> None:
    raw = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert parse_json(raw) == document


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        parse_json(raw)
    except BadJson as exc:
        assert exc.detail


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"a": NaN}', "a"),
        (b'{"a": {"b": [1, -Infinity]}}', "a.b.1"),
        (b'{"a": {"b": 1e999}}', "a.b"),
        (b'{"a": -1e999}', "a"),
        (b'{"a": 18446744073709551616}', "a"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a"),
        (b'{"request_id": "x", "request_id": "y"}', "request_id"),
        (b'{"a": {"b": 1, "b": 1}}', "b"),
        (b'{"a": ["\\ud800"]}', "a.0"),
        (b'{"a": "\\udc00\\ud800"}', "a"),
        (b'{"\\ud800": 1}', "\\ud800"),
        (b'{"a": NaN, "b": 1e999}', "a"),
    ],
)
def test_a_fault_names_its_key(raw: bytes, field: str) -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(raw)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nul",
        b'{"a": 1,}',
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf{}",
        b"[NaN, [[",
        b"{} {}",
        b'"\x00"',
        b"[\x00]\x00",
    ],
)
def test_a_document_that_is_not_json_is_refused_without_a_key(raw: bytes) -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(raw)
    assert refused.value.field == ""


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_nesting_is_allowed_up_to_the_limit_and_no_further() -> None:
    assert parse_json(_nested(MAX_DEPTH))
    with pytest.raises(BadJson, match="deeper than 32"):
        parse_json(_nested(MAX_DEPTH + 1))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse_json(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000, b"[NaN," + b"[" * 100_000])
def test_nesting_that_would_exhaust_the_stack_is_only_too_deep(raw: bytes) -> None:
    with pytest.raises(BadJson, match="deeper"):
        parse_json(raw)


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}
