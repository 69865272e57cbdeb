"""Starts and ends the processes of a measurement: each runs in its own process group and is ended by its id."""

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
    """Controls a process that runs in ``directory`` and whose output goes to ``log``."""

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
        """Raises BenchFailed with the end of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchFailed(f"{self.name} ended with code {code}\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the whole group: SIGTERM, then SIGKILL for the members that are left when the grace period is over."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(_STOP_GRACE_S)
        # A leader that has ended may have left members of its group running.
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # the group is empty


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float, alive: Sequence[Child] = ()) -> None:
    """Polls ``condition`` every 20 ms. Raises BenchFailed when the time is up or one of ``alive`` has died."""
    end = time.monotonic() + deadline_s
    while not condition():
        for child in alive:
            child.check_alive()
        if time.monotonic() > end:
            tails = "\n".join(f"--- {child.name}\n{child.tail()}" for child in alive)
            raise BenchFailed(f"{what}: not within {deadline_s:g} s\n{tails}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Returns whether a process accepts connections on this port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
