"""Writes text into header fields, and reads it back: the one place that knows RFC 2047.

A text is written as it is, or as encoded words from its beginning to its end: readers drop the white space between two
encoded words, and keep any other, so a text that mixes both loses spaces. EmailMessage is not used for headers, because
it decodes encoded words that are in the text that it is given, and writes what it has decoded.
"""

from __future__ import annotations

import base64
import re
from email.header import decode_header

#: Longest line with an encoded word (RFC 2047, 2); other lines keep to it, too.
LINE_CHARACTERS = 76
#: Bytes of UTF-8 in one encoded word: in base64 it has 64 characters, and "Subject: " fits before it.
_WORD_BYTES = 39
#: Longest header name with its colon and space that this leaves room for.
_NAME_CHARACTERS = len("Subject: ")

_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_FOLD = re.compile(r"\r\n(?=[ \t])")


def text(value: str) -> str:
    """Returns ``value`` for a header field of free text, folded. ``value`` has no control characters."""
    return _folded(value) if _is_plain(value) else encoded_words(value)


def phrase(value: str) -> str:
    """Returns ``value`` as a display name: atoms, a quoted string, or encoded words (RFC 5322, 3.2.5; RFC 2047, 5)."""
    if not _is_plain(value) or len(value) > LINE_CHARACTERS - _NAME_CHARACTERS:
        return encoded_words(value)
    if _ATOMS.fullmatch(value):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{escaped}"'


def encoded_words(value: str) -> str:
    """Returns ``value`` as encoded words in UTF-8 and base64, one per line; each holds whole characters."""
    words, word = [], b""
    for character in value:
        piece = character.encode()
        if len(word) + len(piece) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += piece
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def unfolded(written: str) -> str:
    return _FOLD.sub("", written)


def read_text(written: str) -> str:
    """Returns the text that a mail program shows for a header field of free text, or for a phrase without quotes.

    It is Python's decoder and not a counterpart of this module's writer, so that both have to agree.
    """
    return "".join(
        part if isinstance(part, str) else part.decode(charset or "ascii")
        for part, charset in decode_header(unfolded(written))
    )


def _is_plain(value: str) -> bool:
    """Tells whether every reader sees ``value`` itself if it is written as it is."""
    return (
        bool(_PRINTABLE.fullmatch(value))
        and "=?" not in value
        and "  " not in value
        and value == value.strip()
        and max(map(len, value.split()), default=0) <= LINE_CHARACTERS - _NAME_CHARACTERS
    )


def _folded(value: str) -> str:
    lines, length = [""], _NAME_CHARACTERS
    for word in value.split(" "):
        if lines[-1] and length + 1 + len(word) > LINE_CHARACTERS:
            lines.append(word)
            length = 1 + len(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
            length += len(word) + 1
    return "\r\n ".join(lines)
