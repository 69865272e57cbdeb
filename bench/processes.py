"""Starting and ending the processes of a measurement: each in a process group of its own, ended by its id."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchFailed

ROOT = Path(__file__).resolve().parent.parent
_STOP_GRACE_S = 15.0


class Child:
    """A running process whose output goes to ``log``; it runs in ``directory``."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in argv],
                cwd=directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def check_alive(self) -> None:
        """Raise BenchFailed with the end of the log if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchFailed(f"{self.name} ended with code {code}\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the whole group: SIGTERM, and SIGKILL for whatever is left when the grace is over."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(_STOP_GRACE_S)
        # A leader that has ended may have left members of its group behind.
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # the group is empty


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float, alive: Sequence[Child] = ()) -> None:
    """Poll ``condition`` every 20 ms; BenchFailed when the time is up or one of ``alive`` has died."""
    end = time.monotonic() + deadline_s
    while not condition():
        for child in alive:
            child.check_alive()
        if time.monotonic() > end:
            tails = "\n".join(f"--- {child.name}\n{child.tail()}" for child in alive)
            raise BenchFailed(f"{what}: not within {deadline_s:g} s\n{tails}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
