"""Decides which keys may become a part of a URL: a key of a caller must never lead out of its collection.

The key is percent-encoded, but servers and proxies on the way decode ``%2F`` before they resolve ``..`` (nginx does),
take ``\\`` for ``/``, cut ``;...`` off a segment, decode twice, or fold full-width characters. Such a key has no entry.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

#: How many times a key may be decoded on its way.
_DECODED = 3
_DOT_SEGMENTS = frozenset({"", ".", ".."})
_SEPARATOR = re.compile(r"[/\\\x00-\x1f\x7f]")


def names_an_entry(key: str) -> bool:
    """Tells whether ``GET {endpoint}/{key}`` can only mean an entry of the collection at ``endpoint``."""
    for _ in range(_DECODED):
        for form in (key, unicodedata.normalize("NFKC", key)):
            if _SEPARATOR.search(form) or form.partition(";")[0].strip() in _DOT_SEGMENTS:
                return False
        try:
            decoded = unquote(key, errors="strict")
        except UnicodeDecodeError:
            # An overlong form of "." or "/", for example.
            return False
        if decoded == key:
            return True
        key = decoded
    return False
