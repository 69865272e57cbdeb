"""Runs a private PostgreSQL for tests and measurements: loopback only, with its own port and data."""

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from ops.errors import ServerFailed
from ops.processes import Daemon, Identity
from ops.servers.ports import refuse_taken
from ops.servers.programs import require

USER, DATABASE = "notify", "postgres"
READY_S = 30.0
STOP_S = 10.0
#: PostgreSQL refuses to run as root. Debian's package makes the first of these users; every system has the second.
_OTHER_USERS = ("postgres", "nobody")
_FAST_STOP = signal.SIGINT


class PostgreSQLServer:
    """Runs one server. Its data survive a restart, and ``remove`` removes them.

    Everybody on this machine may connect, as the user notify. ``directory`` holds the log and the record of the
    process; ``directory/data`` is a link to the data if this process runs as root, because another user must own them
    and may not be able to enter ``directory``. ``durable=False`` skips fsync: then the data survive a crash of the
    server, but not one of the machine.
    """

    def __init__(self, directory: Path, *, port: int, durable: bool = True) -> None:
        self.directory = directory
        self.port = port
        self._durable = durable
        self._daemon = Daemon("postgresql", directory / "postgresql.pid", directory / "postgresql.log")

    @property
    def url(self) -> str:
        return self.database_url(DATABASE)

    def database_url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Starts the server, and returns when it answers. Raises ServerMissing or ServerFailed."""
        program = require("postgres")
        refuse_taken("PostgreSQL", [self.port])
        data = self.directory / "data"
        if not (data / "PG_VERSION").exists():
            self._initialize(data)
        self._daemon.spawn([str(program), "-D", str(data.resolve()), *self._arguments()], _environment(), _other_user())
        self.wait_ready()

    def _initialize(self, data: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        user = _other_user()
        if user is not None:
            owned = Path(tempfile.mkdtemp(prefix="notify-postgresql-"))
            shutil.chown(owned, user, pwd.getpwnam(user).pw_gid)
            data.unlink(missing_ok=True)
            data.symlink_to(owned)
        # --no-sync: the data are new, and what follows is synced as ``durable`` says.
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        # initdb looks for the server beside itself.
        made = subprocess.run(
            [str(require("initdb").resolve()), "-D", str(data.resolve()), *options],
            env=_environment(),
            cwd="/",
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _arguments(self) -> list[str]:
        synced = "on" if self._durable else "off"
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": synced,
            "full_page_writes": synced,
            "max_connections": "100",
            "deadlock_timeout": "200ms",
            "timezone": "UTC",
        }
        return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if not self.running():
                raise ServerFailed(f"PostgreSQL ended while starting:\n{self._daemon.tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"PostgreSQL was not ready within {timeout_s:.0f} s:\n{self._daemon.tail()}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Tells whether the server would serve a client now."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(1)
                connection.sendall(_startup_message())
                # R asks for (or grants) the authentication; E is an error, for example while it recovers.
                return connection.recv(1) == b"R"
        except OSError:
            return False

    def identity(self) -> Identity | None:
        return self._daemon.identity()

    def running(self) -> bool:
        return self.identity() is not None

    def stop(self) -> None:
        """Ends the server without waiting for its clients. It has ended when this returns."""
        self._daemon.signal(_FAST_STOP)
        self._daemon.end(STOP_S)

    def kill(self) -> None:
        """Ends the server and its children with SIGKILL, which is like a crash. All have ended when this returns.

        A child that is left would keep the shared memory, and the server could not start again.
        """
        family = self._family()
        self._daemon.kill()
        for identity in family:
            identity.send(signal.SIGKILL)
        for identity in family:
            identity.wait(STOP_S)

    def pause(self) -> None:
        """Freezes the server's main process and all its children, with all connections open."""
        for identity in self._family():
            identity.send(signal.SIGSTOP)

    def resume(self) -> None:
        for identity in self._family():
            identity.send(signal.SIGCONT)

    def remove(self) -> None:
        """Removes the data and the directory; call it when the server has ended."""
        remove_data(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _family(self) -> list[Identity]:
        main = self.identity()
        if main is None:
            return []
        children = Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split()
        return [main, *(child for pid in children if (child := Identity.of(int(pid))) is not None)]


def remove_data(directory: Path) -> None:
    """Removes the data of a server that had its files in ``directory``, wherever they lie."""
    data = directory / "data"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
        data.unlink()


def _other_user() -> str | None:
    """Returns the user as whom the server has to run, None if that is the user of this process."""
    if os.geteuid() != 0:
        return None
    for name in _OTHER_USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerFailed(f"PostgreSQL cannot run as root, and there is no user {' or '.join(_OTHER_USERS)}")


def _environment() -> dict[str, str]:
    """Returns this process' environment without the variables of PostgreSQL."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _startup_message() -> bytes:
    parameters = b"".join(part.encode() + b"\0" for part in ("user", USER, "database", "postgres")) + b"\0"
    return struct.pack("!ii", 8 + len(parameters), 196608) + parameters
