"""Decodes JSON strictly by RFC 8259: it refuses documents that two readers could read differently, and names the key.

The usual decoders are not strict: orjson keeps the last of two equal keys, and the standard library accepts NaN, 1e999
and lone surrogates.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

#: The deepest nesting of objects and arrays that one envelope may have.
MAX_DEPTH = 32

#: The smallest and the largest integer that every reader in the product can represent.
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
#: No 64-bit integer has more characters; int() takes time quadratic in the number of digits.
_INT_CHARS = 20
_SPACE = re.compile(r"[ \t\n\r]*")


class BadJson(ValueError):
    """Refuses a document. ``field`` is the path of the key at fault, or '' if there is none."""

    def __init__(self, detail: str, field: str = "") -> None:
        self.detail = detail
        self.field = field
        super().__init__(detail)


class _Unfit(ValueError):
    """Marks a number that not every reader in the product can represent."""


class _Marker(str):
    """Replaces an unfit number; its text says why the number is unfit, so that a second pass finds the key."""

    __slots__ = ()


def parse_json(raw: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Decodes one document. Raises BadJson."""
    text = json_text(raw)
    at = after_space(text, 0)
    try:
        document, end = decode_at(text, at, max_depth)
    except json.JSONDecodeError as exc:
        raise not_json(exc.msg, text, exc.pos) from exc
    if (extra := after_space(text, end)) != len(text):
        raise not_json("Extra data", text, extra)
    return document


def json_text(raw: bytes) -> str:
    """Returns the text of a document. Raises BadJson if it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadJson(f"not UTF-8 (byte {exc.start})") from exc


def after_space(text: str, at: int) -> int:
    """Returns the place of the first character from ``at`` on that is not JSON's white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def not_json(message: str, text: str, at: int) -> BadJson:
    """Returns the error for text that breaks JSON's grammar at character ``at``."""
    place = json.JSONDecodeError(message, text, at)
    return BadJson(f"not JSON: {message} (line {place.lineno}, column {place.colno})")


def decode_at(text: str, at: int, max_depth: int = MAX_DEPTH) -> tuple[Any, int]:
    """Decodes the value that starts at ``at``. Returns it and the place after it.

    Raises json.JSONDecodeError if the grammar is broken there, and BadJson for everything else.
    """
    try:
        try:
            document, end = _FAST.raw_decode(text, at)
        except _Unfit:
            document, end = _MARKING.raw_decode(text, at)
            _inspect(document, max_depth)
            return document, end
    except RecursionError as exc:
        raise BadJson(f"nested deeper than {max_depth} levels") from exc
    # Neither deep nesting nor a lone surrogate is possible without these characters, and most documents have few
    # brackets.
    if text.count("{", at, end) + text.count("[", at, end) > max_depth or text.find("\\u", at, end) >= 0:
        _inspect(document, max_depth)
    return document, end


def _inspect(document: Any, max_depth: int) -> None:
    """Checks every value, in document order. Raises BadJson. It takes memory only for the levels that are open."""
    path: list[str] = []
    levels: list[Iterator[tuple[str, Any]]] = []
    value = document
    while True:
        if isinstance(value, _Marker):
            raise BadJson(str(value), ".".join(path))
        if isinstance(value, str) and not _is_text(value):
            raise BadJson("a lone surrogate is not text", ".".join(path))
        if isinstance(value, (dict, list)):
            if len(levels) == max_depth:
                raise BadJson(f"nested deeper than {max_depth} levels", ".".join(path))
            levels.append(_children(value))
            path.append("")
        child = None
        while levels and (child := next(levels[-1], None)) is None:
            levels.pop()
            path.pop()
        if child is None:
            return
        key, value = child
        path[-1] = _readable(key)
        if path[-1] != key:
            raise BadJson("a lone surrogate is not text", ".".join(path))


def _children(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    return iter(value.items()) if isinstance(value, dict) else ((str(index), each) for index, each in enumerate(value))


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _readable(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadJson("duplicate key", _readable(key))
            seen.add(key)
    return document


def _unfit(text: str) -> str | None:
    """Returns why not every reader can represent this number, or None if every reader can."""
    if text in ("NaN", "Infinity", "-Infinity"):
        return f"{text} is not JSON"
    if any(sign in text for sign in ".eE"):
        return "the number is beyond what a double can hold" if math.isinf(float(text)) else None
    if len(text) > _INT_CHARS or not INT_MIN <= int(text) <= INT_MAX:
        return "the integer is beyond 64 bits"
    return None


def _decoder(refused: Callable[[str], Any]) -> json.JSONDecoder:
    def number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
        def convert(text: str) -> Any:
            why = _unfit(text)
            return kind(text) if why is None else refused(why)

        return convert

    return json.JSONDecoder(
        object_pairs_hook=_pairs, parse_int=number(int), parse_float=number(float), parse_constant=number(float)
    )


def _raise(why: str) -> Any:
    raise _Unfit(why)


_FAST = _decoder(_raise)
_MARKING = _decoder(_Marker)
