"""Shows a body that is no envelope, so that an operator can find its publisher and the mistake.

The rules for masking an envelope need its fields. In a body without fields, everything that looks like an address is
masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from shared.broker.browse import Taken
from shared.failed.results import UnreadableBody
from shared.message.privacy import mask
from shared.process.printable import printable, printable_bytes

#: Deepest nesting of an envelope that is shown; the gateway accepts no deeper one.
MAX_DEPTH = 32
#: Most bytes that are shown, and most of a body that is no text while addresses are to be masked: enough to recognise
#: gzip, Protocol Buffers or UTF-16.
MOST_SHOWN_BYTES, MAGIC_BYTES = 64 * 1024, 16
_MOST_HEADERS, _MOST_HEADER_CHARACTERS = 50, 256

#: Headers that this system and the broker write: they hold no address.
_OURS = ("notify-", "x-death", "x-first-death-", "x-last-death-", "x-delivery-count")
#: What can be an e-mail address is a whole word with an @ inside. A pattern with the @ would be tried from each letter
#: of a long word to its end: 64 KiB of full stops would hold an operation for a minute.
_WORD = re.compile(r"[^\s\"'<>,;:(){}\[\]]+")
#: A phone number, and a push token (FCM's have more than 100 characters).
_ADDRESS = re.compile(r"\+?\d[\d ().-]{5,}\d|[A-Za-z0-9_:-]{24,}")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_envelope(body: bytes) -> dict[str, Any] | None:
    """Returns the decoded JSON object, or None if the body is none, or nested deeper than MAX_DEPTH."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and not _is_deeper(document, MAX_DEPTH) else None


def unreadable_body(message: Taken, *, reveal: bool) -> UnreadableBody:
    """Returns the headers and the body of a message as printable text."""
    text, complete = _body(message.body, reveal)
    return UnreadableBody(
        content_type=_printable_or_none(message.content_type),
        content_encoding=_printable_or_none(message.content_encoding),
        headers=_headers(message.headers, reveal),
        text=text,
        complete=complete,
    )


def _is_deeper(document: Any, levels: int) -> bool:
    todo = [(document, 1)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, (dict, list)):
            if depth > levels:
                return True
            todo += [(inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value)]
    return False


def _body(body: bytes, reveal: bool) -> tuple[str, bool]:
    most = MOST_SHOWN_BYTES if reveal or _is_text(body) else MAGIC_BYTES
    text = printable_bytes(body[:most])
    return text if reveal or not _is_text(body) else _masked(text), len(body) <= most


def _is_text(body: bytes) -> bool:
    try:
        return _NO_TEXT.search(body.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _headers(headers: Mapping[str, Any], reveal: bool) -> dict[str, str]:
    shown = {}
    for name, value in list(headers.items())[:_MOST_HEADERS]:
        text = printable_bytes(value) if isinstance(value, bytes) else printable(value)
        plain = reveal or name.startswith(_OURS)
        shown[printable(name)] = (text if plain else _masked(text))[:_MOST_HEADER_CHARACTERS]
    return shown


def _masked(text: str) -> str:
    without_mail = _WORD.sub(lambda found: mask(found[0]) if "@" in found[0][1:-1] else found[0], text)
    return _ADDRESS.sub(lambda found: mask(found[0]), without_mail)


def _printable_or_none(text: str | None) -> str | None:
    return None if text is None else printable(text)
