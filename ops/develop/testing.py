"""Implements ``./notify test``: runs pytest with private servers that the tests start and stop themselves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from ops.errors import OpsError
from ops.place import ROOT
from ops.servers import install
from ops.terminal import Terminal

#: Three processes, each with its own servers, run whole files in the order that tests/conftest.py gives. On two cores
#: three are faster than two, because the tests wait for servers and leases more than they compute.
SIDE_BY_SIDE = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
_SERVERS = ["rabbitmq-server", "redis-server", "postgres", "chromium", "nginx"]
_DAY_S = 86_400


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.option("--days", type=int, default=0)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(days: int, arguments: tuple[str, ...]) -> None:
    """Run all tests in three processes, or in one process the tests that ARGUMENTS (of pytest) select.

    With --days N the clock of the tests is moved by N days.
    """
    install.ensure(_SERVERS, Terminal(stderr=True).print)
    os.chdir(ROOT)
    environment, more = dict(os.environ), []
    if days:
        environment["LD_PRELOAD"] = str(moved_clock(days, ROOT / ".local"))
        # The end-to-end tests fetch packages, but the certificates of the package servers are not valid on that day.
        more = ["--ignore=tests/e2e"]
    # Replace this process, so that pytest's last line is the last output and pytest's exit code is the command's.
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *more, *(arguments or SIDE_BY_SIDE)], environment)


def moved_clock(days: int, directory: Path) -> Path:
    """Builds a library in ``directory`` and returns its path: it moves the clock of a process that preloads it.

    The clock moves by ``days``. Raises OpsError if the library cannot be built or does not move the clock.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / f"moved-clock{days:+d}.so"
    source = ROOT / "tests/support/run/moved_clock.c"
    _output_of(["cc", "-shared", "-fPIC", "-O2", f"-DMOVED_S=({days * _DAY_S}L)", "-o", str(library), str(source)])
    clock = [sys.executable, "-c", "import time; print(time.time())"]
    shown_s = float(_output_of(clock, LD_PRELOAD=str(library)))
    if abs(shown_s - time.time() - days * _DAY_S) > _DAY_S / 2:
        raise OpsError(f"The clock of {sys.executable} does not move by {days} days: it shows {time.ctime(shown_s)}")
    return library


def _output_of(command: list[str], **variables: str) -> str:
    try:
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    except FileNotFoundError as exc:
        raise OpsError(
            f"{command[0]} is not installed; --days needs a C compiler: sudo apt-get install gcc libc6-dev"
        ) from exc
    except subprocess.CalledProcessError as exc:
        raise OpsError(f"{' '.join(command)} ended with {exc.returncode}:\n{exc.stderr}") from exc
    return done.stdout
