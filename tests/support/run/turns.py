"""Makes parallel test processes take turns: a test marked ``alone`` runs while no other process runs any test.

Without pytest-xdist there is only one process, and nothing to wait for.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LOCK = Path(__file__).parents[3] / ".local" / "turns.lock"


def is_alone(item: pytest.Item) -> bool:
    """Returns whether the test is marked ``alone``: it measures times."""
    return item.get_closest_marker("alone") is not None


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Waits until this test may run. Tests that are not ``alone`` share their turn with each other."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            # Closing the file is not enough: a child process that was forked meanwhile has it open, too.
            fcntl.flock(file, fcntl.LOCK_UN)
