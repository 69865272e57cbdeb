"""Starts programs of the checkout as processes that are forked from one that has already imported what they need.

Starting Python and importing the product takes most of a second of computing, and some tests start dozens of processes.
A program cannot tell the difference: no module does anything when it is imported, which
``tests/unit/repository/test_import_rules.py`` checks. The gateway is not started in this way, because prometheus_client
has to find one of its variables when it is imported.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.place import ROOT

_forked = multiprocessing.get_context("forkserver")
#: None of these is ``__main__``: a program has its own.
_forked.set_forkserver_preload(
    [
        "ops.cli",
        "ops.failed.command",
        "services.email.sendgrid",
        "services.email.smtp",
        "services.push.fcm",
        "services.sms.twilio",
        "services.sms.vonage",
        "shared.worker.run",
    ]
)


class ForkedProcess:
    """Does what ``python -m MODULE ARGUMENTS`` does in ``cwd``; its output is appended to files.

    It leads a session of its own. Like a process of ``asyncio.create_subprocess_exec`` it has ``pid``, ``returncode``,
    ``send_signal`` and ``wait``.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdout: Path,
        stderr: Path,
    ) -> None:
        program = (module, list(arguments), dict(env), cwd, stdout, stderr)
        mine, its = _forked.Pipe(duplex=False)
        self._process = _forked.Process(target=_become, args=(its, *program))
        self._process.start()
        its.close()
        # It closes its end when it leads its session: from then on its group can be killed.
        mine.poll(None)
        mine.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Returns its exit code, a signal's number as a negative one, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Waits for its end and returns its exit code."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def join(self, timeout_s: float) -> int | None:
        """Waits without an event loop; returns None if it still runs after ``timeout_s``."""
        self._process.join(timeout_s)
        return self.returncode


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Does what ``./notify ARGUMENTS`` does, and returns its exit code and both outputs.

    Raises TimeoutExpired if it takes longer than ``timeout_s``.
    """
    with TemporaryDirectory() as directory:
        stdout, stderr = Path(directory, "stdout"), Path(directory, "stderr")
        process = ForkedProcess("ops", arguments, env=environment, cwd=ROOT, stdout=stdout, stderr=stderr)
        code = process.join(timeout_s)
        if code is None:
            process.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        return subprocess.CompletedProcess(list(arguments), code, stdout.read_text(), stderr.read_text())


def _become(
    leading: Connection,
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    directory: Path,
    stdout: Path,
    stderr: Path,
) -> None:
    os.setsid()
    leading.close()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
