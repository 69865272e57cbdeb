"""Decodes a JSON array item by item: however many items a body holds, only one of them takes memory at a time.

Decoding it as one document would cost up to a hundred times its size: four megabytes of ``[{},{},...]`` are 1.4 million
dictionaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gateway.http.strict_json import BadJson, after_space, decode_at, json_text, not_json

#: Where a text was cut, the decoder complains about at most this many characters before the cut (``\\ud83d\\ude0``).
_CUT_CHARS = 16


class NotAnArray(ValueError):
    """Says that the document is something else than an array."""


class ItemTooLong(ValueError):
    """Says that an item is longer than ``most_chars``; ``index`` counts from 0."""

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(f"item {index}")


def array_items(raw: bytes, most_chars: int) -> Iterator[Any]:
    """Yields the items of the array in ``raw``, each strictly decoded when it is asked for.

    Raises NotAnArray; BadJson, whose field starts with the index of its item; ItemTooLong, sometimes only for an item
    of twice ``most_chars``.
    """
    text = json_text(raw)
    at = after_space(text, 0)
    if at == len(text):
        raise not_json("Expecting value", text, at)
    if not text.startswith("[", at):
        raise NotAnArray
    at = after_space(text, at + 1)
    index, more = 0, not text.startswith("]", at)
    # The decoder sees the text through a window, so that an item that never ends is decoded no further than its end.
    start, window = 0, text[: 2 * most_chars]
    while more:
        if at + most_chars > start + len(window) and start + len(window) < len(text):
            start, window = at, text[at : at + 2 * most_chars]
        item, end = _item(text, start, window, at - start, index)
        at = after_space(text, start + end)
        yield item
        more = text.startswith(",", at)
        if more:
            at = after_space(text, at + 1)
            index += 1
    if not text.startswith("]", at):
        raise not_json("Expecting ',' delimiter", text, at)
    if (extra := after_space(text, at + 1)) != len(text):
        raise not_json("Extra data", text, extra)


def _item(text: str, start: int, window: str, at: int, index: int) -> tuple[Any, int]:
    is_cut = start + len(window) < len(text)
    try:
        item, end = decode_at(window, at)
    except json.JSONDecodeError as exc:
        if is_cut and (exc.msg.startswith("Unterminated") or exc.pos >= len(window) - _CUT_CHARS):
            raise ItemTooLong(index) from None
        raise not_json(exc.msg, text, start + exc.pos) from None
    except BadJson as exc:
        raise BadJson(exc.detail, f"{index}.{exc.field}" if exc.field else str(index)) from None
    if is_cut and end == len(window):
        raise ItemTooLong(index)
    return item, end
