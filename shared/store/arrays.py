"""Writes arrays for PostgreSQL as one text each.

psycopg would write an array element by element, in Python; a few operations on one long text take a tenth of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def texts(values: Sequence[str | None]) -> str:
    """Returns the literal of an array of texts. None of them holds U+0000, which can thus stand between them."""
    if None in values:
        return "{" + ",".join("NULL" if value is None else texts((value,))[1:-1] for value in values) + "}"
    joined = "\0".join(values)  # type: ignore[arg-type]
    return '{"' + joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","') + '"}'


def numbers(values: Iterable[int | None]) -> str:
    """Returns the literal of an array of numbers."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
