"""Makes the directory in which the processes of one gateway count together (PROMETHEUS_MULTIPROC_DIR).

The main process locks its directory, and its forked workers inherit the lock. A directory without a lock was left
behind by a gateway that was killed: the next gateway that starts removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "notify-gateway-"
#: Not a setting of the product: prometheus_client reads it.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def metrics_directory() -> Iterator[Path]:
    """Sets PROMETHEUS_MULTIPROC_DIR to a new directory, and removes the directory at the end of the block.

    prometheus_client reads the variable when it is imported: import every module that uses it inside the block.
    """
    _remove_leftovers(Path(tempfile.gettempdir()))
    directory, lock = _locked_directory()
    os.environ[_VARIABLE] = str(directory)
    try:
        yield directory
    finally:
        del os.environ[_VARIABLE]
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def current_directory() -> str | None:
    """Returns the directory that this process shares with others, or None if it counts for itself."""
    return os.environ.get(_VARIABLE)


def _locked_directory() -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A gateway that starts at the same time may have removed it as a leftover before it was locked.
        if directory.exists():
            return directory, lock
        os.close(lock)


def _remove_leftovers(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        # Another user's directory cannot be opened, and a directory in use cannot be locked.
        with suppress(OSError):
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
            finally:
                os.close(lock)
