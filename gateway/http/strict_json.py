"""Decodes JSON strictly by RFC 8259: it refuses documents that two readers could read differently, and names the key.

The usual decoders are not strict: orjson keeps the last of two equal keys, and the standard library accepts NaN, 1e999
and lone surrogates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

#: The deepest nesting of objects and arrays that one envelope may have.
MAX_DEPTH = 32

#: The smallest and the largest integer that every reader in the product can represent.
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
#: No 64-bit integer has more characters; int() takes time quadratic in the number of digits.
_INT_CHARS = 20


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
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadJson(f"not UTF-8 (byte {exc.start})") from exc
    try:
        document = _decode(_FAST, text, max_depth)
    except _Unfit:
        document = _decode(_MARKING, text, max_depth)
    else:
        # Neither deep nesting nor a lone surrogate is possible without these bytes, and most documents have few
        # brackets.
        if raw.count(b"{") + raw.count(b"[") <= max_depth and b"\\u" not in raw:
            return document
    _inspect(document, max_depth)
    return document


def _decode(decoder: json.JSONDecoder, text: str, max_depth: int) -> Any:
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as exc:
        raise BadJson(f"not JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})") from exc
    except RecursionError as exc:
        raise BadJson(f"nested deeper than {max_depth} levels") from exc


def _inspect(document: Any, max_depth: int) -> None:
    for path, depth, value in _walk(document):
        if depth > max_depth:
            raise BadJson(f"nested deeper than {max_depth} levels", ".".join(path[:max_depth]))
        if isinstance(value, _Marker):
            raise BadJson(str(value), ".".join(path))
        if isinstance(value, str) and not _is_text(value):
            raise BadJson("a lone surrogate is not text", ".".join(path))


def _walk(document: Any) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    """Yields (path, depth, value) of every value in document order, without recursion. Raises BadJson if a key is not
    text.
    """
    todo: list[tuple[tuple[str, ...], int, Any]] = [((), 0, document)]
    while todo:
        path, depth, value = todo.pop()
        if isinstance(value, dict):
            depth += 1
            children = []
            for key, child in value.items():
                if not _is_text(key):
                    raise BadJson("a lone surrogate is not text", ".".join((*path, _readable(key))))
                children.append(((*path, key), depth, child))
            todo += reversed(children)
        elif isinstance(value, list):
            depth += 1
            todo += reversed([((*path, str(index)), depth, child) for index, child in enumerate(value)])
        yield path, depth, value


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
