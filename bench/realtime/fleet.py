"""Drives the load: devices in a process of their own."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchFailed
from bench.processes import ROOT

_CONNECT_S = 120.0
_FRAMES_S = 60.0
_ANSWER_S = 30.0
_STOP_S = 10.0


class Arrival(NamedTuple):
    """Says when a notification has come: by the monotonic clock, and since its acceptance, to the millisecond."""

    at_s: float
    since_acceptance_s: float


class Fleet:
    """Is the devices of one measurement. Every method raises BenchFailed if the load has ended or is too slow."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._log = directory / f"{name}-devices.log"
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.realtime.devices"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._expected = 0

    def connect(self, port: int, paths: Sequence[str], greetings: int) -> list[float]:
        """Connects one device per path. Returns how long each took to be greeted, seconds."""
        self.begin_connecting(port, paths, greetings)
        return self.connected()

    def begin_connecting(self, port: int, paths: Sequence[str], greetings: int, per_s: float = 0) -> None:
        """Begins to connect; the next call must be ``connected``."""
        file = self._directory / f"{self._name}-paths"
        file.write_text("\n".join(paths))
        self._tell("connect", port=port, paths=str(file), greetings=greetings, per_s=per_s)

    def connected(self) -> list[float]:
        """Waits until all are greeted. Returns how long each took, seconds."""
        took_s: list[float] = self._answer(_CONNECT_S, "every device is greeted")["took_s"]
        return took_s

    def expect(self, frames: int) -> None:
        """Begins to count the frames that come; the next call must be ``all_here``."""
        self._expected = frames
        self._tell("expect", frames=frames)
        self._answer(_ANSWER_S, "the load counts")

    def all_here(self) -> None:
        """Waits until the expected number has come. Raises BenchFailed, too, if more have come."""
        came = self._answer(_FRAMES_S, "every device has its frames")["frames"]
        if came != self._expected:
            raise self._failed(f"{came} frames came, and {self._expected} were expected")

    def record(self) -> None:
        """Begins to note when each notification comes."""
        self._tell("record")
        self._answer(_ANSWER_S, "the load records")

    def recorded(self) -> dict[str, Arrival]:
        """Returns what has come since ``record``, so far, by its request_id."""
        file = self._directory / f"{self._name}-arrivals"
        self._tell("recorded", file=str(file))
        self._answer(_ANSWER_S, "the load writes its record")
        return {request_id: Arrival(*times) for request_id, times in json.loads(file.read_text()).items()}

    def close(self) -> None:
        """Cuts all connections."""
        self._tell("close")
        self._answer(_ANSWER_S, "the devices are gone")

    def stop(self) -> None:
        """Ends the process, and with it all connections."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._process.stdout.close()

    def _tell(self, do: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed(f"{do}: the load has ended") from None

    def _answer(self, deadline_s: float, what: str) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], deadline_s)
        if not ready:
            raise self._failed(f"{what}: not within {deadline_s:g} s")
        line = output.readline()
        if not line:
            raise self._failed(f"{what}: the load has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, what: str) -> BenchFailed:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        return BenchFailed(f"{self._name}: {what}\n{tail}")


@contextmanager
def running(directory: Path, name: str) -> Iterator[Fleet]:
    """Runs a load whose files lie in ``directory``; ends it afterwards."""
    fleet = Fleet(directory, name)
    try:
        yield fleet
    finally:
        fleet.stop()
