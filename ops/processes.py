"""Processes that we started: known by pid and start time, so that a pid used again is never taken for ours.

A record on disk outlives its writer: who finds it later can still tell whether that very process runs, and end it.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05


@dataclass(frozen=True)
class Identity:
    """One process for all time: no later process has the same pid and the same start."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The living process with this pid, or None. A zombie does not live."""
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        return _start_of(self.pid) == self.started

    def send(self, signum: int, *, group: bool = False) -> None:
        """Signal it, or the process group that it leads; nothing if it has ended."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum) if group else os.kill(self.pid, signum)

    def end(self, grace_s: float, *, group: bool = False) -> bool:
        """SIGTERM, and SIGKILL after ``grace_s``. True if it ended by itself; returns when it is gone."""
        # A stopped process takes no SIGTERM until it is continued.
        self.send(signal.SIGCONT, group=group)
        self.send(signal.SIGTERM, group=group)
        if self.wait(grace_s):
            return True
        self.send(signal.SIGKILL, group=group)
        self.wait(10)
        return False

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended, False if it still runs after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _start_of(pid: int) -> str | None:
    """When the process began, as the system writes it; None for none, or a zombie."""
    if not Path("/proc/self/stat").exists():
        return _start_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may itself hold blanks and brackets: count the fields after the last one.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else start_ticks


def _start_by_ps(pid: int) -> str | None:
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


@dataclass(frozen=True)
class PidFile:
    """The record of one process on disk."""

    path: Path

    def write(self, identity: Identity) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"pid": identity.pid, "started": identity.started}))
        draft.replace(self.path)

    def living(self) -> Identity | None:
        """The process on record, if it still runs. A stale or broken record is no obstacle: None."""
        try:
            record = json.loads(self.path.read_text())
            identity = Identity(int(record["pid"]), str(record["started"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return identity if identity.alive() else None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Daemon:
    """A child with a log and a pid file, in a session of its own so that Ctrl-C in our terminal does not reach it."""

    def __init__(self, name: str, pid_file: Path, output: Path) -> None:
        self.name = name
        self.record = PidFile(pid_file)
        self.output = output
        self._child: subprocess.Popen[bytes] | None = None

    def spawn(self, argv: list[str], environment: dict[str, str]) -> None:
        """Start it. Raises OSError if the program cannot be run."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = Identity.of(self._child.pid)
        if identity is not None:
            self.record.write(identity)

    def identity(self) -> Identity | None:
        """The living process: our child, or one that an earlier run left; None if there is none."""
        if self._child is not None:
            self._child.poll()  # reaps it, if it has ended
        return self.record.living()

    def signal(self, signum: int) -> None:
        identity = self.identity()
        if identity is not None:
            identity.send(signum)

    def kill(self) -> None:
        """SIGKILL, as a crash would; gone when this returns."""
        self.signal(signal.SIGKILL)
        self.end(10)

    def end(self, grace_s: float) -> bool:
        """End it by its pid; True if it left by itself within ``grace_s``. Gone when this returns."""
        identity = self.identity()
        by_itself = identity is None or identity.end(grace_s)
        if self._child is not None:
            self._child.wait(10)
        self.record.remove()
        return by_itself

    def tail(self) -> str:
        """The last lines that it wrote."""
        return tail(self.output)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a file; empty if there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
