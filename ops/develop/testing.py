"""``./notify test``: pytest, with private servers that the tests start and stop themselves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from ops.errors import OpsError
from ops.place import ROOT
from ops.servers import install

#: two processes with servers of their own, whole files each, in the order that tests/conftest.py gives
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
_DAY_S = 86_400


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.option("--days", type=int, default=0)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(days: int, arguments: tuple[str, ...]) -> None:
    """Run all tests in two processes, or in one what ARGUMENTS (of pytest) select.

    With --days N they run on the day that is N days from now.
    """
    install.ensure(["rabbitmq-server", "redis-server"], lambda line: click.echo(line, err=True))
    os.chdir(ROOT)
    environment, more = dict(os.environ), []
    if days:
        environment["LD_PRELOAD"] = str(moved_clock(days, ROOT / ".local"))
        # The end-to-end tests fetch packages: no certificate of the outside is valid that day.
        more = ["--ignore=tests/e2e"]
    # In our place, so that pytest's closing line is the last of all and its exit code is ours.
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *more, *(arguments or SIDE_BY_SIDE)], environment)


def moved_clock(days: int, directory: Path) -> Path:
    """Returns a new library in ``directory``; the clock of each process that preloads it is ``days`` from now.

    Raises OpsError if it cannot be built, or if the clock of a process with it does not move.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / f"moved-clock{days:+d}.so"
    source = ROOT / "tests/support/moved_clock.c"
    _said_by(["cc", "-shared", "-fPIC", "-O2", f"-DMOVED_S=({days * _DAY_S}L)", "-o", str(library), str(source)])
    clock = [sys.executable, "-c", "import time; print(time.time())"]
    shown_s = float(_said_by(clock, LD_PRELOAD=str(library)))
    if abs(shown_s - time.time() - days * _DAY_S) > _DAY_S / 2:
        raise OpsError(f"The clock of {sys.executable} does not move by {days} days: it shows {time.ctime(shown_s)}")
    return library


def _said_by(command: list[str], **variables: str) -> str:
    try:
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    except FileNotFoundError as exc:
        raise OpsError(
            f"{command[0]} is not installed; --days needs a C compiler: sudo apt-get install gcc libc6-dev"
        ) from exc
    except subprocess.CalledProcessError as exc:
        raise OpsError(f"{' '.join(command)} ended with {exc.returncode}:\n{exc.stderr}") from exc
    return done.stdout
