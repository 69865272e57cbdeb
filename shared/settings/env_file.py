"""Reads the file ``.env``, and names the line that cannot be read. python-dotenv alone would skip such a line."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from shared.errors import BadSettings


def read_file(path: Path, *, skip_unreadable: bool = False) -> dict[str, str]:
    """Returns the variables that the file sets; none if there is no such file.

    Raises BadSettings if the file or one of its lines cannot be read. The error names the line and does not show it,
    because it may hold a secret. With ``skip_unreadable`` it returns what can be read, and raises nothing.
    """
    try:
        # A file that was saved with a byte order mark would otherwise begin with a variable of another name.
        text = path.read_text(encoding="utf-8-sig", errors="replace" if skip_unreadable else "strict")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise BadSettings([(str(path), f"line {line}: is not UTF-8")]) from exc
    except OSError as exc:
        if skip_unreadable:
            return {}
        raise BadSettings([(str(path), f"cannot be read: {exc.strerror}")]) from exc
    problems = [
        (str(path), f"line {_line_of(binding)}: {_UNREADABLE if binding.error else _WITHOUT_VALUE}")
        for binding in parse_stream(io.StringIO(text))
        if binding.error or (binding.key is not None and binding.value is None)
    ]
    if problems and not skip_unreadable:
        raise BadSettings(problems)
    # Without this, python-dotenv itself would warn in each process about the lines that are skipped.
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)
    values = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in values.items() if value is not None}


def _line_of(binding: Binding) -> int:
    # A statement begins with the empty lines above it.
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


_UNREADABLE = "must be NAME=value; a value with spaces, quotes or line breaks stands in quotes that end"
_WITHOUT_VALUE = "there is no = behind the name"
