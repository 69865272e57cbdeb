"""Runs supervisord with a generated configuration.

It restarts a process that ends, with back-off if the process fails to start.
"""

import hashlib
import os
import shlex
import sys
import tempfile
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from ops.place import ROOT, Place
from ops.processes import Daemon, Identity, end_groups
from ops.system.fleet import Program

# The workers finish the messages in flight within 25 s; supervisord gives each worker 35 s.
STOP_S = 60.0
PROCESS_STOP_S = 35.0
# The kernel's limit for the path of a socket is 104 bytes on macOS and 108 on Linux.
_LONGEST_SOCKET_PATH = 100

_SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile={log}
logfile_maxbytes=10MB
logfile_backups=1
pidfile={run}/supervisord.self.pid
{user}
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

# Without a group of their own, supervisord would stop the processes one after the other.
_GROUP = """
[group:notify]
programs={names}
"""

_PROGRAM = """
[program:{name}]
command={command}
directory={root}
environment=NOTIFY_REPLICA="{replica}"
autorestart=true
startsecs=5
startretries=1000000
stopwaitsecs={stop_s:.0f}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True)
class ProcessState:
    """Holds what supervisord knows about one process; ``state`` is supervisord's word (RUNNING, BACKOFF, ...)."""

    name: str
    state: str
    pid: int
    description: str


class Supervisor:
    """Runs one supervisord per place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._daemon = Daemon("supervisord", place.run / "supervisord.pid", place.log_file("supervisord-output"))

    def start(self, fleet: list[Program], environment: dict[str, str]) -> None:
        """Starts every program of ``fleet``. Every process gets ``environment``, which is written to no file."""
        self._place.run.mkdir(parents=True, exist_ok=True)
        self._place.log.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self._place.stopping.unlink(missing_ok=True)
        configuration = self._place.run / "supervisord.conf"
        configuration.write_text(configuration_text(self._place, self._socket, fleet))
        self._daemon.spawn(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(configuration)],
            environment,
        )

    @property
    def _socket(self) -> Path:
        socket = self._place.run / "supervisor.sock"
        if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
            return socket
        digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"notify-{digest}.sock"

    def identity(self) -> Identity | None:
        return self._daemon.identity()

    def stop(self) -> None:
        """Lets every process finish, then ends supervisord. All have ended when this returns."""
        if self._place.run.exists():
            self._place.stopping.touch()
        self._daemon.end(STOP_S)
        # After an orderly stop no process is left; this ends processes whose supervisord was killed.
        records = self._place.processes().values()
        end_groups([process for record in records if (process := record.living()) is not None], PROCESS_STOP_S)
        for record in records:
            record.remove()
        self._place.stopping.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    def states(self) -> dict[str, ProcessState]:
        """Returns every process by name, or an empty dict while supervisord does not answer."""
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            rows = cast(list[dict[str, Any]], proxy.supervisor.getAllProcessInfo())
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}
        finally:
            transport.close()
        return {
            row["name"]: ProcessState(row["name"], row["statename"], row["pid"], row["description"]) for row in rows
        }

    def last_words(self) -> str:
        return self._daemon.tail()


def configuration_text(place: Place, socket: Path, fleet: list[Program]) -> str:
    """Returns the whole configuration file."""
    head = _SUPERVISORD.format(
        log=_plain(place.log_file("supervisord")),
        run=_plain(place.run),
        socket=_plain(socket),
        # Without this line supervisord warns that it runs as root.
        user="user=root\n" if os.geteuid() == 0 else "",
    )
    group = _GROUP.format(names=",".join(program.name for program in fleet))
    return head + group + "".join(_section(place, program) for program in fleet)


def _section(place: Place, program: Program) -> str:
    pid_file = place.process(program.name).path
    command = shlex.join([sys.executable, "-m", "ops.system.launch", str(pid_file), program.module])
    return _PROGRAM.format(
        name=program.name,
        command=_plain(command),
        root=_plain(ROOT),
        replica=program.replica,
        stop_s=PROCESS_STOP_S,
        log=_plain(place.log_file(program.name)),
    )


def _plain(text: object) -> str:
    """Escapes a text so that supervisord, which expands %(...)s, reads it back unchanged."""
    return str(text).replace("%", "%%")
