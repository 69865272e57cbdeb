"""JSON as RFC 8259 has it, and no more: what two readers could read differently is refused, and the key named.

orjson keeps the last of two equal keys; the standard library takes NaN, 1e999 and lone surrogates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

#: deepest nesting of objects and arrays in one envelope
MAX_DEPTH = 32

#: integers that every reader of ours can keep
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
#: no 64-bit integer is longer; int() is quadratic in its digits
_INT_CHARS = 20


class BadJson(ValueError):
    """``field`` is the path of the key at fault, '' if there is none."""

    def __init__(self, detail: str, field: str = "") -> None:
        self.detail = detail
        self.field = field
        super().__init__(detail)


class _Unfit(ValueError):
    """A number that no reader of ours can keep as it is."""


class _Marker(str):
    """Stands where an unfit number stood; its text says why, so that a second look finds the key."""

    __slots__ = ()


def parse_json(raw: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Decode one document. Raises BadJson."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadJson(f"not UTF-8 (byte {exc.start})") from exc
    try:
        document = _decode(_FAST, text, max_depth)
    except _Unfit:
        document = _decode(_MARKING, text, max_depth)
    else:
        # Neither fault is possible without these bytes, and most documents have few brackets.
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
    """Every value and every key with its path and depth, in document order; without recursion."""
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
    """Why this number cannot be kept as it is, or None."""
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
