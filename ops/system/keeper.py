"""Implements the keeper: the process that starts the servers and processes, keeps them running and stops them."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ops.errors import AlreadyRunning, OpsError
from ops.place import Place, writing_to
from ops.processes import Identity
from ops.servers import install
from ops.servers.local import LocalServers
from ops.settings import Configuration
from ops.store.command import migrate
from ops.system.fleet import check_ports, environment, fleet_digest, programs
from ops.system.supervision import Supervisor

_CHECK_EVERY_S = 1.0


@contextmanager
def sole_keeper(place: Place) -> Iterator[None]:
    """Makes this process the only keeper of ``place`` until the end of the block.

    Raises AlreadyRunning if another process is the keeper, and BadSetting if the directory is not writable.
    """
    with _lock_file(place) as lock:
        try:
            # The kernel releases the lock however this process ends; a record on disk would remain.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning("The system is already running: ./notify status, ./notify down") from exc
        myself = Identity.of(os.getpid())
        if myself is None:
            raise RuntimeError("the operating system does not list this process")
        place.keeper.write(myself)
        try:
            yield
        finally:
            place.keeper.remove()


def _lock_file(place: Place) -> TextIO:
    with writing_to(place.directory):
        place.make()
        return place.lock.open("w")


def refuse_second(place: Place) -> None:
    """Raises AlreadyRunning if the system of this place is running."""
    if place.keeper.living() is not None:
        raise AlreadyRunning("The system is already running: ./notify status, ./notify down")


class Keeper:
    """Starts, checks and stops the whole system. Use it inside ``sole_keeper``.

    ``say`` is called with one line for each step.
    """

    def __init__(self, configuration: Configuration, say: Callable[[str], None]) -> None:
        self._configuration = configuration
        self._say = say
        self._servers = LocalServers(configuration, say)
        self.supervisor = Supervisor(configuration.place)
        self._adopts = self._answered = False
        self._next_check = 0.0

    def prepare(self) -> None:
        """Checks everything that can fail before anything is started, and installs missing servers. Raises OpsError."""
        needed = [
            program
            for program, private in (
                ("rabbitmq-server", self._configuration.private_rabbitmq),
                ("redis-server", self._configuration.private_redis),
            )
            if private
        ]
        install.ensure(needed, self._say)
        self._adopts = self._is_ours_without_keeper()
        if self._adopts:
            self._say("The system is running without a keeper: keeping it.")
            return
        self.end_leftovers()
        check_ports(self._configuration)
        self._servers.check_given()
        # Before anything is started: a process that met older tables would end.
        for line in migrate(self._configuration):
            self._say(line)

    def end_leftovers(self) -> bool:
        """Ends all processes that a killed keeper left running. Returns True if there were any."""
        left = self.leftovers()
        if left:
            self._say(f"Ending processes that an earlier run left: {', '.join(left)}")
        self.stop()
        return bool(left)

    def leftovers(self) -> list[str]:
        """Returns the names of the servers and processes that run here without a keeper."""
        left = self._servers.left_running()
        if self.supervisor.identity() is not None:
            left.append("supervisord")
        return left + [name for name, record in self._configuration.place.processes().items() if record.living()]

    def start(self) -> None:
        """Starts the servers, then the processes; those that run already are kept.

        Raises OpsError; the caller must then stop those already started.
        """
        if self._adopts:
            self._servers.revive()
            return
        self._servers.start()
        self._start_processes()

    def check(self) -> None:
        """Checks the system at most once per second, so call it often: it starts again what has ended.

        Raises OpsError if supervisord ends before it has answered once: it would not start the next time either.
        """
        if time.monotonic() < self._next_check:
            return
        self._servers.revive()
        if self.supervisor.identity() is None:
            self._revive_processes()
        elif not self._answered:
            self._answered = bool(self.supervisor.states())
        self._next_check = time.monotonic() + _CHECK_EVERY_S

    def _start_processes(self) -> None:
        everywhere = environment(self._configuration) | self._servers.environment()
        self.supervisor.start(programs(self._configuration), everywhere)
        self._configuration.place.fleet.write_text(fleet_digest(self._configuration))

    def _revive_processes(self) -> None:
        said = self.supervisor.last_words()
        if not self._answered:
            raise OpsError(f"supervisord has ended:\n{said}")
        self._say(f"supervisord has ended; starting the processes again\n{said}".rstrip())
        # The processes outlive their supervisord, and nothing can supervise them any more: they finish and end first.
        self.supervisor.stop()
        self._start_processes()

    def _is_ours_without_keeper(self) -> bool:
        """Tells whether all processes run with the present settings, and only their keeper was killed."""
        place = self._configuration.place
        if self.supervisor.identity() is None or not self.supervisor.states():
            return False
        return place.fleet.exists() and place.fleet.read_text() == fleet_digest(self._configuration)

    def stop(self) -> None:
        """Stops the processes first, so that they finish the messages in progress, and then the servers.

        Nothing runs any more when this returns.
        """
        self.supervisor.stop()
        self._servers.stop()
