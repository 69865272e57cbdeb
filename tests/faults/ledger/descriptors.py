"""What a process has open, as /proc tells it (Linux only)."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def descriptors(pid: int, but_to: Collection[int] = ()) -> int:
    """Open file descriptors, connections from or to the ports ``but_to`` aside: pools that breathe with the traffic."""
    aside = _sockets(pid, but_to) if but_to else frozenset()
    return sum(_target(pid, number) not in aside for number in os.listdir(f"/proc/{pid}/fd"))


def _target(pid: int, number: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except FileNotFoundError:
        return "closed in between"


def _sockets(pid: int, ports: Collection[int]) -> frozenset[str]:
    """The TCP sockets that have one of ``ports`` at either end, as /proc/PID/fd names them."""
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return frozenset(
        f"socket:[{row[9]}]" for row in rows if any(int(end.rpartition(":")[2], 16) in ports for end in row[1:3])
    )
