"""Runs Erlang's port mapper as a child of this process.

Without it, a node would start a port mapper that outlives the node and whose pid is unknown.
"""

from pathlib import Path

from ops.processes import Daemon
from ops.servers.programs import require, search_path

STOP_S = 5.0


class Epmd:
    """Runs one port mapper on 127.0.0.1, for all nodes that are given its port."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._daemon = Daemon("epmd", directory / "epmd.pid", directory / "epmd.log")

    def start(self) -> None:
        """Starts the port mapper unless it runs already. Raises ServerMissing."""
        if self._daemon.identity() is None:
            program = str(require("epmd"))
            self._daemon.spawn([program, "-port", str(self.port), "-address", "127.0.0.1"], {"PATH": search_path()})

    def stop(self) -> None:
        self._daemon.end(STOP_S)

    def kill(self) -> None:
        self._daemon.kill()
