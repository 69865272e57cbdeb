"""Reads processor time and memory of a process and its descendants from /proc (Linux only)."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Returns ``pid`` and every living descendant; empty if the process is gone."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = _children(parent)
        if children is not None:
            found.append(parent)
            waiting.extend(children)
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Returns the seconds of user and system time that these processes and their reaped children have used so far."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS_PER_S


def busy_cores(over_s: float) -> float:
    """Returns how many processors the whole machine keeps busy, measured over ``over_s`` seconds."""
    before = _busy_ticks()
    time.sleep(over_s)
    return (_busy_ticks() - before) / _TICKS_PER_S / over_s


def rss_mb(pid: int) -> float:
    """Returns the resident memory in MB (10^6 bytes), shared pages included; 0 if the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0  # a process that has ended but was not yet reaped has no VmRSS


def _children(pid: int) -> list[int] | None:
    try:
        tasks = [task.path for task in os.scandir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return [int(child) for task in tasks for child in _text(f"{task}/children").split()]


def _cpu_ticks(pid: int) -> int:
    # The name in parentheses may hold spaces: count fields from the last one.
    fields = _text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    return sum(int(field) for field in fields[11:15])


def _busy_ticks() -> int:
    user, nice, system, _idle, _iowait, irq, soft_irq, *_ = _text("/proc/stat").splitlines()[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, soft_irq)))


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
