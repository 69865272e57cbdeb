"""Keeps the position of a device in a file, so that it survives a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path

from notify_client.inbox import Position


class PositionFile:
    """Reads and replaces the file; a process that dies in between leaves the old one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        """Returns the position, None if there is none yet or the file cannot be understood."""
        try:
            content = json.loads(self._path.read_text())
            return Position(str(content["epoch"]), int(content["offset"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, position: Position) -> None:
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        beside.write_text(json.dumps({"epoch": position.epoch, "offset": position.offset}))
        beside.replace(self._path)
