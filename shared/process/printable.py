"""Makes texts safe to print: what callers and other services write must not move an operator's cursor.

A terminal obeys control characters (ECMA-48): some set its title, some answer as if the operator had typed, and the
characters of Unicode that change the direction of writing (UAX 9) show a text in another order than it has.
"""

from __future__ import annotations

import unicodedata


def printable(text: object) -> str:
    """Returns the text on one line, with each character that is not shown as itself as an escape, such as ``\\x1b``."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(letter if _is_shown(letter) else _escape(letter) for letter in plain)


def printable_lines(text: object) -> str:
    """Does the same as ``printable`` with each line of a text, and keeps its line breaks."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def printable_bytes(body: bytes) -> str:
    """Returns bytes that may be no text: valid UTF-8 as ``printable`` does, every other byte as an escape."""
    return "".join(
        _byte_escape(letter) if "\udc80" <= letter <= "\udcff" else printable(letter)
        for letter in body.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    )


def _is_shown(letter: str) -> bool:
    # Python counts the spaces of other widths, such as the no-break space of French texts, as not printable.
    return letter.isprintable() or letter == "\t" or unicodedata.category(letter) == "Zs"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _byte_escape(letter: str) -> str:
    return f"\\x{ord(letter) - 0xDC00:02x}"
