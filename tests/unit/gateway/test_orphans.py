"""Tests that gateway workers end when their main process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]

#: Forks two workers from one main process. The second one holds the first one's sentinel open and does not stop.
MAIN = """
import multiprocessing, signal, time
from gateway.__main__ import _end_with_parent

def work(stubborn):
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_parent()
    time.sleep(60)

fork = multiprocessing.get_context("fork")
workers = [fork.Process(target=work, args=(stubborn,)) for stubborn in (False, True)]
for worker in workers:
    worker.start()
print(*(worker.pid for worker in workers), flush=True)
time.sleep(60)
"""


@contextmanager
def main_process() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Yields the main process and the pids of its workers. All are ended afterwards."""
    command = [sys.executable, "-c", MAIN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout
        workers = [int(pid) for pid in main.stdout.readline().split()]
        try:
            yield main, workers
        finally:
            main.kill()
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Tells whether the process runs. A zombie, for which no process has waited, counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_is_slow_to_stop_does_not_keep_another_alive() -> None:
    with main_process() as (main, (prompt, stubborn)):
        main.kill()
        main.wait()
        eventually(lambda: not alive(prompt))
        assert alive(stubborn)
