"""Reads the processes' log files and renders their lines for people."""

import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red")
_LEVEL_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
# These fields are shown in columns of their own, or are the same on every line.
_PLACED = ("at", "level", "event", "service")


class LogFile:
    """Reads a growing file from the end of the last read; it reads a rotated file from its new beginning."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._inode: int | None = None
        self._offset = 0
        self._rest = b""
        if from_end and path.exists():
            stat = path.stat()
            self._inode, self._offset = stat.st_ino, stat.st_size

    def new_lines(self) -> Iterator[str]:
        """Yields the complete lines written since the last call."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self._inode, self._offset, self._rest = stat.st_ino, 0, b""
                file.seek(self._offset)
                written = file.read()
        except FileNotFoundError:
            return
        self._offset += len(written)
        *lines, self._rest = (self._rest + written).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


def last_lines(path: Path, count: int) -> list[str]:
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, count)]


def render(name: str, line: str) -> Text:
    """Returns ``name`` in its colour, then the line; a JSON line of the product becomes time, event and fields."""
    text = Text(f"{name:<9} ", style=_COLOURS[sum(name.encode()) % len(_COLOURS)])
    try:
        event = json.loads(line)
    except ValueError:
        return text.append(line, style="default")
    if not isinstance(event, dict) or "event" not in event:
        return text.append(line, style="default")
    level = str(event.get("level", "info"))
    text.append(f"{str(event.get('at', ''))[11:19]} ", style="dim")
    text.append(str(event["event"]), style=_LEVEL_STYLES.get(level, "bold"))
    for field, value in event.items():
        if field not in _PLACED and field != "exception":
            text.append(f" {field}=", style="dim").append(str(value), style="default")
    if "exception" in event:
        text.append(f"\n{event['exception']}", style="red")
    return text
