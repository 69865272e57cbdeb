"""The running system: servers and processes, started, kept up and stopped by one process, the keeper."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ops.errors import AlreadyRunning, BadSetting, OpsError
from ops.place import Place
from ops.processes import Identity
from ops.servers import install
from ops.settings import Configuration
from ops.system.fleet import check_ports, environment, programs
from ops.system.local_servers import LocalServers
from ops.system.supervision import Supervisor

_CHECK_EVERY_S = 1.0


@contextmanager
def sole_keeper(place: Place) -> Iterator[None]:
    """Be the only keeper of this place. Raises AlreadyRunning if another process is, BadSetting if it has no room."""
    with _lock_file(place) as lock:
        try:
            # The kernel lets go of it however this process ends; a record on disk would stay.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning("Already running: ./notify status, ./notify down") from exc
        myself = Identity.of(os.getpid())
        if myself is None:
            raise RuntimeError("the system does not know this very process")
        place.keeper.write(myself)
        try:
            yield
        finally:
            place.keeper.remove()


def _lock_file(place: Place) -> TextIO:
    try:
        place.run.mkdir(parents=True, exist_ok=True)
        return place.lock.open("w")
    except OSError as exc:
        raise BadSetting(f"NOTIFY_LOCAL_DIR: cannot write to {place.directory}: {exc.strerror}") from exc


def refuse_second(place: Place) -> None:
    """Raise AlreadyRunning if the system of this place is up."""
    if place.keeper.living() is not None:
        raise AlreadyRunning("Already running: ./notify status, ./notify down")


class Keeper:
    """Use under ``sole_keeper``. ``say`` gets one line for each step."""

    def __init__(self, configuration: Configuration, say: Callable[[str], None]) -> None:
        self._configuration = configuration
        self._say = say
        self._servers = LocalServers(configuration, say)
        self.supervisor = Supervisor(configuration.place)
        self._next_check = 0.0

    def prepare(self) -> None:
        """All that can be refused before anything runs. Raises OpsError."""
        needed = [
            program
            for program, ours in (
                ("rabbitmq-server", self._configuration.private_rabbitmq),
                ("redis-server", self._configuration.private_redis),
            )
            if ours
        ]
        install.ensure(needed, self._say)
        self.end_leftovers()
        check_ports(self._configuration)
        self._servers.check_given()

    def end_leftovers(self) -> bool:
        """End what a killed keeper left running. True if there was anything."""
        left = self.leftovers()
        if left:
            self._say(f"Ending what an earlier run left: {', '.join(left)}")
        self.stop()
        return bool(left)

    def leftovers(self) -> list[str]:
        """Names of what runs here without a keeper."""
        left = self._servers.left_running()
        if self.supervisor.identity() is not None:
            left.append("supervisord")
        return left + [name for name, record in self._configuration.place.processes().items() if record.living()]

    def start(self) -> None:
        """Servers first, then the processes. Raises OpsError; the caller stops what has begun."""
        self._servers.start()
        everywhere = environment(self._configuration) | self._servers.environment()
        self.supervisor.start(programs(self._configuration), everywhere)

    def check(self) -> None:
        """Call often: once a second it revives a private server. Raises OpsError if supervisord is gone."""
        if time.monotonic() < self._next_check:
            return
        if self.supervisor.identity() is None:
            raise OpsError(f"supervisord has ended:\n{self.supervisor.last_words()}")
        self._servers.revive()
        self._next_check = time.monotonic() + _CHECK_EVERY_S

    def stop(self) -> None:
        """Processes first, so that they finish what they have in hand; then the servers. Nothing is left."""
        self.supervisor.stop()
        self._servers.stop()
