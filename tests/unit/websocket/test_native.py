"""Checks how a pull is divided into frames, and the bytes of a frame."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from services.websocket.transport import native
from services.websocket.transport.native import PAGE_BYTES, PAGE_ROWS, pages
from shared.store.values import Owner, Position, Pull
from tests.support.inbox_rows import row

END = Position("0a1b2c3d", 9_007_199_254_740_991)


def pull(bodies: list[str], *, recovered: bool = False, more: bool = True) -> Pull:
    rows = tuple(row(number, number)._replace(body=body) for number, body in enumerate(bodies, 1))
    return Pull(Owner("ann"), END, 9_007_199_254_740_991, recovered, rows, more=more)


def check(of: Pull) -> list[dict[str, Any]]:
    """Checks the frames of a pull against the rules of every pull, and returns them."""
    written = list(pages(of))
    assert max(map(len, written)) <= PAGE_BYTES
    read = [orjson.loads(frame) for frame in written]
    assert [item["id"] for frame in read for item in frame["items"]] == [one.id for one in of.rows]
    assert max(len(frame["items"]) for frame in read) <= PAGE_ROWS
    *others, last = read
    assert (last["epoch"], last["offset"], last["unread"]) == (*END, of.unread)
    assert all({"epoch", "offset", "unread"}.isdisjoint(frame) for frame in others)
    # Only the first one empties the list, and only the last one says that there is more.
    assert [frame["recovered"] for frame in read] == [of.recovered, *[True] * len(others)]
    assert [frame["more"] for frame in read] == [*[False] * len(others), of.more]
    return read


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 200, 1000])
def test_a_frame_has_at_most_100_rows(rows: int) -> None:
    assert len(check(pull([""] * rows))) == max(1, -(-rows // 100))


def test_a_frame_has_at_most_256_kib() -> None:
    # As much as the database lets through: a text of 4 KiB, of which each character is escaped.
    assert len(check(pull(['"' * 4096] * 100))) == 4


@given(st.lists(st.integers(0, 9000), max_size=130), st.booleans())
def test_any_pull_keeps_the_rules(sizes: list[int], recovered: bool) -> None:
    check(pull(["x" * size for size in sizes], recovered=recovered, more=not recovered))


def test_a_frame_is_filled_as_far_as_it_may() -> None:
    one = len(next(pages(pull(["x"])))) - len(next(pages(pull([])))) - 1
    size = PAGE_BYTES // 99 - one
    frames = [len(check(pull(["x" * (size + more)] * 99))) for more in range(-20, 20)]
    assert (frames[0], frames[-1]) == (1, 2)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_message_is_one_frame_of_the_protocol(size: int) -> None:
    assert native.text(b"x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    assert native.close(4500, "malformed") == Frame(Opcode.CLOSE, b"\x11\x94malformed").serialize(mask=False)
    assert Frame(Opcode.PING, b"").serialize(mask=False) == native.PING
