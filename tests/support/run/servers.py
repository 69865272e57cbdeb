"""Runs private servers for one test run; each run has its own directory, which names its process."""

import fcntl
import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.processes import Identity, PidFile
from ops.servers import PostgreSQLServer, RabbitMQPorts, RabbitMQServer, RedisServer, free_ports
from ops.servers.ports import FIRST_PORT, LAST_PORT
from ops.servers.postgresql import remove_data

_LOCAL = Path(__file__).parents[3] / ".local"
_OWNER = "pytest.pid"
# These match every pid file under a directory: of servers that run, or that a killed run may have left running.
_RECORDS = ("**/rabbitmq.pid", "**/redis.pid", "**/epmd.pid", "**/postgresql.pid")


#: It holds the ports that were assigned last: their new owners may not listen on them yet.
_given: deque[int] = deque(maxlen=100)


def run_ports(count: int) -> list[int]:
    """Returns ``count`` free ports that were not assigned recently, from the range of this test process.

    The range is ``NOTIFY_TEST_PORTS`` (``first-last``) if that is set. Test processes that run side by side share it
    without overlap: a port that one of them has chosen and not opened yet would look free to the others.
    """
    first, last = _range()
    chosen = [port for port in free_ports(count + len(_given), first, last) if port not in _given][:count]
    _given.extend(chosen)
    return chosen


def _range() -> tuple[int, int]:
    """Returns first and last port of this test process (a worker of pytest-xdist, or the only process)."""
    first, _, last = os.environ.get("NOTIFY_TEST_PORTS", f"{FIRST_PORT}-{LAST_PORT}").partition("-")
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (int(last) + 1 - int(first)) // processes
    return int(first) + number * share, int(first) + (number + 1) * share - 1


def new_run_directory() -> Path:
    """Makes a directory for the servers of this process. Before that it ends and removes leftovers of killed runs."""
    _LOCAL.mkdir(exist_ok=True)
    with (_LOCAL / "test.lock").open("w") as lock:
        # Another test process that runs beside this one must not mistake a directory without a record for a leftover.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in _LOCAL.glob("test-*"):
            if PidFile(left / _OWNER).living() is None:
                end_leftovers(left)
        directory = _LOCAL / f"test-{os.getpid()}"
        myself = Identity.of(os.getpid())
        if myself is None:
            raise RuntimeError("the system does not know this very process")
        PidFile(directory / _OWNER).write(myself)
    return directory


def end_leftovers(directory: Path) -> None:
    """Ends the servers on record under the directory, then removes it."""
    for pattern in _RECORDS:
        for record in directory.glob(pattern):
            process = PidFile(record).living()
            if process is not None:
                process.end(0)
    # Its data may lie elsewhere.
    for log in directory.glob("**/postgresql.log"):
        remove_data(log.parent)
    shutil.rmtree(directory)


@contextmanager
def private_rabbitmq(
    directory: Path, *, dead_letter_confirm_timeout_s: float = 5.0, quorum_tick_s: float = 0.5
) -> Iterator[RabbitMQServer]:
    """Yields the test's own broker, ready; ends it with its data still on disk."""
    ports = RabbitMQPorts(*run_ports(4))
    server = RabbitMQServer(
        directory,
        ports,
        dead_letter_confirm_timeout_s=dead_letter_confirm_timeout_s,
        quorum_tick_s=quorum_tick_s,
    )
    server.start()
    try:
        yield server
    finally:
        # Its data is not needed any more, and an orderly stop costs 6 s.
        server.kill()


@contextmanager
def private_redis(directory: Path) -> Iterator[RedisServer]:
    """Yields the test's own Redis, ready."""
    server = RedisServer(directory, port=run_ports(1)[0])
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def private_postgresql(directory: Path) -> Iterator[PostgreSQLServer]:
    """Yields the test's own PostgreSQL, ready; removes its data afterwards."""
    server = PostgreSQLServer(directory, port=run_ports(1)[0], durable=False)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        server.remove()
