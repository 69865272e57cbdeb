"""Runs one process of the system under test: restarts, kills, freezes and ends it, and counts its deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.ledger.ledgers import Resources
from tests.support.run.forked import ForkedProcess

#: after this number of ends in one scenario a process is not going to recover
MOST_ENDS = 200
#: limit of an orderly stop, seconds
STOP_S = 40.0

#: returns the module and its arguments for the n-th start of this process (from 0)
Command = Callable[[int], list[str]]


@dataclass(frozen=True, slots=True)
class End:
    """Records the end of one life. ``code`` is 0 for a stop in good order, negative for a signal."""

    code: int
    at: float


class Member:
    """Runs a process that is started again at once when it dies, as a supervisor would.

    It runs in ``directory``, where its output goes to ``<name>.log``. It leads a process group of its own, so that its
    children can be ended with it. ``forked`` says that it need not import anything (``ForkedProcess``).
    """

    def __init__(
        self,
        name: str,
        command: Command,
        environment: dict[str, str],
        directory: Path,
        port: int,
        *,
        forked: bool = False,
    ) -> None:
        self.name = name
        self.port = port
        self.log = directory / f"{name}.log"
        #: how and when (Unix seconds) each of its lives ended, except for the last stop
        self.ends: list[End] = []
        self.exit_code: int | None = None
        self._command = command
        self._environment = environment
        #: outside the checkout, so that the process does not read a developer's .env
        self._directory = directory
        self._forked = forked
        self._process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._frozen = False

    def start(self) -> None:
        """Starts the process and keeps it running, also after a ``stop``; returns at once."""
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        """Returns the process id. Raises RuntimeError if it does not run now."""
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def deaths(self) -> int:
        """Counts the lives that did not end in good order."""
        return sum(end.code != 0 for end in self.ends)

    def kill(self) -> None:
        """Kills the process with SIGKILL if it runs now; it is started again."""
        self._signal(signal.SIGKILL)

    def kill_whole(self) -> None:
        """Kills the process and its children with SIGKILL at the same time if it runs; it is started again."""
        if self.runs:
            os.killpg(self.pid, signal.SIGKILL)

    def family(self) -> list[int]:
        """Returns its pid, then those of its children. Raises RuntimeError if it does not run now."""
        return [self.pid, *_children(self.pid)]

    def terminate(self) -> None:
        """Sends SIGTERM if it runs: it ends in good order and is started again."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Sends SIGSTOP: the process is unresponsive, and all its connections stay open."""
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._frozen = False
        self._signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Sends SIGTERM, waits, and returns the exit code. If the process does not end it is killed, and the exit code
        is -9.
        """
        self._stopping = True
        if self._frozen:
            self.thaw()
        self._signal(signal.SIGTERM)
        if self._keeper is not None:
            _, pending = await asyncio.wait([self._keeper], timeout=STOP_S)
            if pending:
                await self.end()
        return self.exit_code if self.exit_code is not None else 0

    async def end(self) -> None:
        """Kills the process and its children with SIGKILL and does not start them again."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            # It may end by itself at this very moment.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._keeper is not None:
            await asyncio.gather(self._keeper)

    def resources(self, but_to: Collection[int] = ()) -> dict[str, float]:
        """Returns what the process and its children hold now: ``fds`` (without connections to the ports ``but_to``),
        ``threads``, ``memory_mb``.
        """
        pids = self.family()
        return {
            "fds": float(sum(_descriptors(pid, but_to) for pid in pids)),
            "threads": float(sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)),
            "memory_mb": sum(_resident_mb(pid) for pid in pids),
        }

    def grown_since(self, before: dict[str, float], but_to: Collection[int] = ()) -> Resources:
        return Resources(self.name, before, self.resources(but_to))

    def said(self, lines: int = 15) -> str:
        """Returns the last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        starts = 0
        while not self._stopping and len(self.ends) < MOST_ENDS:
            self._process = await self._begin(*self._command(starts))
            starts += 1
            self.exit_code = await self._process.wait()
            if not self._stopping:
                self.ends.append(End(self.exit_code, time.time()))

    async def _begin(self, module: str, *arguments: str) -> asyncio.subprocess.Process | ForkedProcess:
        where: dict[str, Any] = {"env": self._environment, "cwd": self._directory}
        if self._forked:
            return ForkedProcess(module, arguments, **where, stdout=self.log, stderr=self.log)
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, **where, stdout=log, stderr=log, start_new_session=True
            )


def _children(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [grandchild for child in children for grandchild in _children(child)]


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors(pid: int, but_to: Collection[int] = ()) -> int:
    """Counts the open file descriptors without connections from or to the ports ``but_to``, whose pools vary with the
    traffic.
    """
    aside = _sockets(pid, but_to) if but_to else frozenset()
    return sum(_target(pid, number) not in aside for number in os.listdir(f"/proc/{pid}/fd"))


def _target(pid: int, number: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except FileNotFoundError:
        return "closed in between"


def _sockets(pid: int, ports: Collection[int]) -> frozenset[str]:
    """Returns the TCP sockets that have one of ``ports`` at either end, as /proc/PID/fd names them."""
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return frozenset(
        f"socket:[{row[9]}]" for row in rows if any(int(end.rpartition(":")[2], 16) in ports for end in row[1:3])
    )
