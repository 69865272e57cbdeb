"""Reads a batch: up to 1 000 notifications in one request, each with a verdict of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.http.json_array import ItemTooLong, NotAnArray, array_items
from gateway.http.problem import RETRY_SOON_S, Problem, unavailable
from gateway.http.strict_json import BadJson, parse_json
from shared.message.envelope import MAX_BODY_BYTES

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_ITEMS = 1_000
#: An item beyond MAX_BODY_BYTES is refused alone if it is decoded at all, and this is how much of it is.
MAX_ITEM_CHARS = 4 * MAX_BODY_BYTES
#: Batches of one process between the first byte of their body and their answer. Each holds some of its 4 MiB.
MOST_BATCHES = 16
#: Batches that are decoded and checked at the same time; their threads share one processor anyway.
MOST_DECODED = 2
#: How long a batch waits for its turn to be decoded, in seconds.
_TURN_S = 2.0
_MAX_ECHOED_CHARS = 128


class Batches:
    """Limits how many batches one process works on, because each takes many times the memory of a notification."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MOST_BATCHES)
        self._turns = threading.BoundedSemaphore(MOST_DECODED)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place until the end of the block. Raises Problem 503 if none is free."""
        if not self._places.acquire(blocking=False):
            raise _busy()
        try:
            yield
        finally:
            self._places.release()

    def documents(self, raw: bytes) -> Iterator[Any]:
        """Yields the documents of the batch, unchecked, while it holds its turn. The caller takes them without pause.

        Raises Problem 422 if ``raw`` is not a batch, 400 if it is not strict JSON, 413 if one item is far too long, and
        503 if its turn does not come.
        """
        if not self._turns.acquire(timeout=_TURN_S):
            raise _busy()
        try:
            yield from _documents(raw)
        finally:
            self._turns.release()


def _documents(raw: bytes) -> Iterator[Any]:
    count = 0
    try:
        for count, item in enumerate(array_items(raw, MAX_ITEM_CHARS), 1):
            if count > MAX_BATCH_ITEMS:
                raise Problem(422, f"a batch holds 1 to {MAX_BATCH_ITEMS} notifications; this one has more")
            yield item
    except NotAnArray:
        if len(raw) <= MAX_BODY_BYTES:
            _refuse_bad_json(raw)
        raise Problem(422, "a batch is a JSON array of notifications") from None
    except ItemTooLong as exc:
        why = f"takes more than {MAX_BODY_BYTES} bytes"
        raise Problem(413, f"notification {exc.index} {why}", [(str(exc.index), why)]) from None
    except BadJson as exc:
        raise Problem(400, exc.detail, [(exc.field, exc.detail)] if exc.field else ()) from None
    if count == 0:
        raise Problem(422, f"a batch holds 1 to {MAX_BATCH_ITEMS} notifications; this one has 0")


def _refuse_bad_json(raw: bytes) -> None:
    """Raises Problem 400 if ``raw`` is not JSON at all."""
    try:
        parse_json(raw)
    except BadJson as exc:
        raise Problem(400, exc.detail, [(exc.field, exc.detail)] if exc.field else ()) from None


def echoed_id(item: Any) -> str | None:
    """Returns a refused item's request_id as its caller wrote it, or None if it is missing or too long to repeat."""
    value = item.get("request_id") if isinstance(item, dict) else None
    return value if isinstance(value, str) and len(value) <= _MAX_ECHOED_CHARS else None


def _busy() -> Problem:
    return unavailable("too many batches are being read; sending it again is safe", RETRY_SOON_S)
