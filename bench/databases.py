"""Runs the private PostgreSQL of a measurement, and names the database of each kind."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.arena import Arena
from bench.errors import BenchFailed
from ops.errors import OpsError
from ops.servers import PostgreSQLServer


@contextmanager
def opened(arena: Arena) -> Iterator[dict[str, str]]:
    """Yields the URLs of an empty SQLite file and of an empty PostgreSQL, which syncs its commits; ends it afterwards.

    Raises BenchFailed if PostgreSQL is not installed or does not start.
    """
    server = PostgreSQLServer(arena.directory / "postgresql", port=arena.ports.postgresql)
    try:
        server.start()
    except OpsError as failed:
        raise BenchFailed(str(failed)) from failed
    try:
        yield {"sqlite": f"sqlite:///{arena.directory}/store/notify.db", "postgresql": server.url}
    finally:
        server.stop()
        server.remove()
