"""Describes where the figures were taken: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ops.place import ROOT
from ops.servers.programs import search_path


def described() -> dict[str, str]:
    """Returns the facts for the head of a report; a fact that cannot be found out is ``unknown``."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "machine": f"{os.cpu_count()} cores ({_cpu()}), {_memory_gib()} GiB",
        "system": _system(),
        "python": platform.python_version(),
        "rabbitmq": _said(["dpkg-query", "--showformat=${Version}", "--show", "rabbitmq-server"]),
        "redis": _said(["redis-server", "--version"]).removeprefix("Redis server v=").partition(" ")[0],
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _said(command: Sequence[str]) -> str:
    program = shutil.which(command[0], path=search_path())
    if program is None:
        return "unknown"
    answer = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
