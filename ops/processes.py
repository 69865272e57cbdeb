"""Starts and ends processes. It knows each by pid and start time, so a reused pid is never mistaken for the process.

A record on disk outlives its writer: a later command can still tell whether exactly that process runs, and end it.
"""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05


@dataclass(frozen=True)
class Identity:
    """Identifies one process for all time: no later process has the same pid and the same start time."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Returns the identity of the living process with this pid, or None. A zombie counts as dead."""
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        return _start_of(self.pid) == self.started

    def send(self, signum: int, *, group: bool = False) -> None:
        """Sends a signal to the process, or to the process group that it leads; does nothing if it has ended."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum) if group else os.kill(self.pid, signum)

    def end(self, grace_s: float, *, group: bool = False) -> bool:
        """Sends SIGTERM, and SIGKILL after ``grace_s``. Returns once it has ended: True if SIGTERM was enough."""
        # A stopped process does not receive SIGTERM until it is continued.
        self.send(signal.SIGCONT, group=group)
        self.send(signal.SIGTERM, group=group)
        if self.wait(grace_s):
            return True
        self.send(signal.SIGKILL, group=group)
        self.wait(10)
        return False

    def wait(self, timeout_s: float) -> bool:
        """Returns True as soon as the process has ended, or False if it still runs after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _start_of(pid: int) -> str | None:
    """Returns the start time of the process in the system's notation, or None if it does not exist or is a zombie."""
    if not Path("/proc/self/stat").exists():
        return _start_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may itself contain blanks and brackets: count the fields after the last bracket.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else start_ticks


def _start_by_ps(pid: int) -> str | None:
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def end_groups(processes: Sequence[Identity], grace_s: float) -> None:
    """Ends the process groups that these processes lead, all at once: SIGTERM, and SIGKILL after ``grace_s``."""
    for signum in (signal.SIGCONT, signal.SIGTERM):
        for process in processes:
            process.send(signum, group=True)
    deadline = time.monotonic() + grace_s
    for process in processes:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            process.send(signal.SIGKILL, group=True)
    for process in processes:
        process.wait(10)


@dataclass(frozen=True)
class PidFile:
    """Records one process in a file."""

    path: Path

    def write(self, identity: Identity) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"pid": identity.pid, "started": identity.started}))
        draft.replace(self.path)

    def living(self) -> Identity | None:
        """Returns the recorded process if it still runs, otherwise None, also for a stale or broken record."""
        try:
            record = json.loads(self.path.read_text())
            identity = Identity(int(record["pid"]), str(record["started"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return identity if identity.alive() else None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Daemon:
    """Runs a child with a log and a pid file, in its own session so that Ctrl-C in the terminal does not reach it."""

    def __init__(self, name: str, pid_file: Path, output: Path) -> None:
        self.name = name
        self.record = PidFile(pid_file)
        self.output = output
        self._child: subprocess.Popen[bytes] | None = None

    def spawn(self, argv: list[str], environment: dict[str, str], user: str | None = None) -> None:
        """Starts the child, as ``user`` if one is given. Raises OSError if the program cannot be run."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )
        identity = Identity.of(self._child.pid)
        if identity is not None:
            self.record.write(identity)

    def identity(self) -> Identity | None:
        """Returns the living process: the child, or one that an earlier run left behind; None if there is none."""
        # An interrupt may have come between the start of the child and its record. ``poll`` reaps a child that ended.
        if self._child is not None and self._child.poll() is None:
            return Identity.of(self._child.pid)
        return self.record.living()

    def signal(self, signum: int) -> None:
        identity = self.identity()
        if identity is not None:
            identity.send(signum)

    def freeze(self) -> None:
        """Stops a process that this one has started with SIGSTOP. All its threads stand still when this returns."""
        self.signal(signal.SIGSTOP)
        if self._child is not None and self._child.poll() is None:
            os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """Ends the process with SIGKILL, which is like a crash. It has ended when this returns."""
        self.signal(signal.SIGKILL)
        self.end(10)

    def end(self, grace_s: float) -> bool:
        """Ends the process by its pid. Returns when it has ended: True if SIGTERM was enough within ``grace_s``."""
        identity = self.identity()
        by_itself = identity is None or identity.end(grace_s)
        if self._child is not None:
            self._child.wait(10)
        self.record.remove()
        return by_itself

    def tail(self) -> str:
        """Returns the last lines that the process wrote."""
        return tail(self.output)


def tail(path: Path, lines: int = 15) -> str:
    """Returns the last lines of a file, or an empty text if the file does not exist."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
