"""Runs a private RabbitMQ node with its own name, cookie, epmd and ports, on loopback only.

It is ended by pid, and none of its processes outlives it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests

from ops.errors import ServerFailed
from ops.processes import Daemon, Identity
from ops.servers.epmd import Epmd
from ops.servers.management import Management, QueueCounts
from ops.servers.ports import refuse_taken
from ops.servers.programs import require, search_path
from ops.servers.rabbitmq_files import Membership, write_files
from ops.servers.secret import kept_password, write_private

USER = "guest"
#: RabbitMQ's own default, which nodes had before they got random passwords.
_OLD_PASSWORD = "guest"
READY_S = 60.0
STOP_S = 30.0
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass(frozen=True)
class RabbitMQPorts:
    """Names the node's ports, all on 127.0.0.1.

    They must be below 32768: an outgoing connection may use a higher one just when the node wants to open it.
    """

    amqp: int
    management: int
    distribution: int
    epmd: int


def node_name(ports: RabbitMQPorts) -> str:
    """Returns the Erlang name of the node on these ports."""
    return f"notify-{ports.amqp}@localhost"


class RabbitMQServer:
    """Runs one node with its files in ``directory``. Its messages survive a restart.

    ``dead_letter_confirm_timeout_s`` is the time after which at-least-once dead-lettering repeats a message that its
    target has not confirmed (RabbitMQ's own default is 180 s). ``quorum_tick_s`` is how old the counts in
    ``list_queues`` may be. ``membership`` names the cluster that the node belongs to; the port mapper is then shared,
    and the caller must start and end it. The user is guest; ``password_file`` keeps its random password, and without it
    (in tests) the password is guest.
    """

    def __init__(
        self,
        directory: Path,
        ports: RabbitMQPorts,
        *,
        dead_letter_confirm_timeout_s: float = 10.0,
        quorum_tick_s: float = 5.0,
        log_file: Path | None = None,
        membership: Membership | None = None,
        password_file: Path | None = None,
    ) -> None:
        self.directory = directory
        self._password_file = password_file
        self._had_data = False
        self.ports = ports
        self.log_file = log_file or directory / "rabbitmq.log"
        self._dead_letter_confirm_timeout_s = dead_letter_confirm_timeout_s
        self._quorum_tick_s = quorum_tick_s
        self._node = Daemon("rabbitmq", directory / "rabbitmq.pid", directory / "console.log")
        self._membership = membership or Membership()
        self._own_epmd = Epmd(directory, ports.epmd) if self._membership.alone else None

    @property
    def management(self) -> Management:
        return Management(self.management_url, USER, self._password)

    @property
    def _password(self) -> str:
        return kept_password(self._password_file) if self._password_file else _OLD_PASSWORD

    @property
    def node_name(self) -> str:
        """Returns the node's Erlang name."""
        return node_name(self.ports)

    @property
    def url(self) -> str:
        """Returns the URL of the default virtual host."""
        return self.vhost_url("/")

    def vhost_url(self, vhost: str) -> str:
        return f"amqp://{USER}:{self._password}@127.0.0.1:{self.ports.amqp}/{quote(vhost, safe='')}"

    @property
    def management_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.management}"

    def start(self) -> None:
        """Starts the node. Returns when AMQP and the management API answer. Raises ServerMissing or ServerFailed."""
        self.begin()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def begin(self) -> None:
        """Starts the node and returns at once, because the nodes of a cluster wait for each other.

        Raises ServerMissing or ServerFailed.
        """
        server = require("rabbitmq-server")
        refuse_taken("RabbitMQ", [self.ports.amqp, self.ports.management, self.ports.distribution])
        self._had_data = (self.directory / "data").exists()
        write_files(
            self.directory,
            user=USER,
            password=self._password,
            amqp_port=self.ports.amqp,
            management_port=self.ports.management,
            dead_letter_confirm_timeout_s=self._dead_letter_confirm_timeout_s,
            quorum_tick_s=self._quorum_tick_s,
            membership=self._membership,
        )
        if self._password_file:
            write_private(self.directory / "url", f"{self.url}\n")
        if self._own_epmd:
            self._own_epmd.start()
        # RABBITMQ_ALLOW_INPUT makes the script become the node instead of waiting for it, so its pid is the node's pid.
        self._node.spawn([str(server), "-noinput"], self._environment() | {"RABBITMQ_ALLOW_INPUT": "1"})

    def _environment(self) -> dict[str, str]:
        """Returns the node's environment, without settings of the system's RabbitMQ and the product's RABBITMQ_*."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        home = str(self.directory)
        return inherited | {
            "PATH": search_path(),
            "HOME": home,  # holds the cookie
            "ERL_CRASH_DUMP": f"{home}/erl_crash.dump",
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": f"{home}/rabbitmq-env.conf",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_LOGS": str(self.log_file),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1} "
                f"-kernel net_ticktime {self._membership.net_ticktime_s}"
            ),
        }

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Returns when the node answers. Raises ServerFailed if it ends, or does not answer within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if not self.running():
                raise ServerFailed(f"RabbitMQ ended while starting:\n{self._node.tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"RabbitMQ was not ready within {timeout_s:.0f} s:\n{self._node.tail()}")
            if self._had_data:
                self._replace_old_password()
            time.sleep(0.05)

    def _replace_old_password(self) -> None:
        """Sets the password of a node that an earlier version made: the configuration sets that of a new node only."""
        with contextlib.suppress(requests.RequestException):
            Management(self.management_url, USER, _OLD_PASSWORD).set_password(USER, self._password)

    def answers(self) -> bool:
        """Tells whether the node would serve a client now."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports.amqp), timeout=1) as connection:
                connection.settimeout(1)
                connection.sendall(_PROTOCOL_HEADER)
                if connection.recv(1) != b"\x01":  # a method frame: Connection.Start
                    return False
            return "/" in self.management.vhosts()
        except (OSError, requests.RequestException):
            return False

    def identity(self) -> Identity | None:
        return self._node.identity()

    def running(self) -> bool:
        return self.identity() is not None

    def list_queues(self, vhost: str = "/") -> dict[str, QueueCounts]:
        return self.management.list_queues(vhost)

    def close_connections(self, reason: str = "closed by the operator") -> None:
        """Closes every client's connection, as a restart of the broker would do."""
        self.ctl("close_all_connections", "--global", reason)

    def queue_is_on_disk(self, name: str, vhost: str = "") -> bool:
        """Tells whether the quorum queue ``name`` would survive a crash of the node.

        Without ``vhost`` it looks for a queue of that name in any virtual host.
        """
        written = f"{vhost}_{name}".encode()
        return any(written in file.read_bytes() for file in (self.directory / "data").glob("*/quorum/*/names.dets"))

    def ctl(self, *arguments: str) -> str:
        """Runs ``rabbitmqctl``, which takes 0.3 to 1 s. Returns its output. Raises subprocess.CalledProcessError."""
        program = str(require("rabbitmqctl"))
        answer = subprocess.run(
            [program, "--quiet", *arguments], env=self._environment(), capture_output=True, text=True, check=True
        )
        return answer.stdout

    def stop(self) -> None:
        """Ends the node in good order, then its epmd. Both have ended when this returns."""
        self._node.end(STOP_S)
        if self._own_epmd:
            self._own_epmd.stop()

    def kill(self) -> None:
        """Ends the node with SIGKILL, which is like a crash, and its epmd too.

        A quorum queue that was declared within the last second comes back empty, even if it has confirmed messages:
        RabbitMQ 3.10 writes its directory of quorum queues to disk only twice a second. ``queue_is_on_disk`` tells
        when a queue is safe.
        """
        self._node.kill()
        if self._own_epmd:
            self._own_epmd.kill()

    def pause(self) -> None:
        """Freezes the node with all connections open, as if its machine were unresponsive."""
        self._node.freeze()

    def resume(self) -> None:
        self._node.signal(signal.SIGCONT)
