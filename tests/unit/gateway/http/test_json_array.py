"""Tests the decoding of an array item by item: the same items as usual, in the memory of one of them."""

import json
import tracemalloc
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.json_array import ItemTooLong, NotAnArray, array_items
from gateway.http.strict_json import MAX_DEPTH, BadJson

SIZE = 64 * 1024
#: most characters of an item where memory is measured: what it takes lies far below the limits, the whole far above
MOST_CHARS = 2_500
_ITEMS = st.lists(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)


@given(_ITEMS, st.booleans(), st.sampled_from([None, 1]))
def test_the_items_are_those_of_the_whole_document(items: list[Any], ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps(items, ensure_ascii=ascii_only, indent=indent).encode()
    longest = max((len(json.dumps(item, indent=indent)) for item in items), default=0)
    # A window that just holds the longest item ends inside almost every other one.
    for most_chars in (2 * longest + 100, 100_000):
        assert list(array_items(raw, most_chars)) == items


@given(st.binary(max_size=40).map(lambda inner: b"[" + inner))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        expected: Any = list(array_items(raw, 1_000))
    except BadJson as exc:
        assert exc.detail
    else:
        assert expected == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'[{"a": 1}, {"a": NaN}]', "1.a"),
        (b'[{"a": 1, "a": 2}]', "0.a"),
        (b'[1, "\\ud800"]', "1"),
        (b"[" + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"]", ".".join(["0"] * (MAX_DEPTH + 1))),
        (b"[1, 1e999]", "1"),
    ],
)
def test_a_fault_names_its_item(raw: bytes, field: str) -> None:
    with pytest.raises(BadJson) as refused:
        list(array_items(raw, 1_000))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("raw", "place"),
    [(b"[1 2]", 4), (b"[1,]", 4), (b"[", 2), (b"[1", 3), (b"[1]x", 4), (b"  ", 3), (b"[\n1,\n}", 1), (b"[01]", 3)],
)
def test_broken_grammar_is_found_where_it_is(raw: bytes, place: int) -> None:
    with pytest.raises(BadJson, match=rf"not JSON: .*column {place}\)"):
        list(array_items(raw, 1_000))


def test_something_else_is_not_an_array() -> None:
    for raw in (b"{}", b"1", b'"["'):
        with pytest.raises(NotAnArray):
            list(array_items(raw, 1_000))


@pytest.mark.parametrize(
    "item",
    [b'"' + b"x" * SIZE + b'"', b"[" + b"{}," * SIZE + b"{}]", b"1" * SIZE, b"[" + b"1," * SIZE, b'{"a":' * SIZE],
)
def test_an_item_without_end_is_refused_in_little_memory(item: bytes) -> None:
    raw = b"[7," + item + b"]"
    tracemalloc.start()
    try:
        with pytest.raises((ItemTooLong, BadJson)) as refused:
            list(array_items(raw, MOST_CHARS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if isinstance(refused.value, ItemTooLong):
        assert refused.value.index == 1
    # The text itself is as long as the body.
    assert peak < len(raw) + 5 * SIZE


@pytest.mark.parametrize("item", [b"{}", b"[]", b"1.5", b'{"a":1}', b'[[["a"]]]', '"\N{GRINNING FACE}"'.encode()])
def test_thousands_of_tiny_items_take_the_memory_of_one(item: bytes) -> None:
    raw = b"[" + b",".join([item] * (2 * SIZE // (len(item) + 1))) + b"]"
    tracemalloc.start()
    try:
        deque(array_items(raw, MOST_CHARS), maxlen=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(raw)
