"""Runs a private Redis that keeps all acknowledged writes: append-only file, no eviction, loopback only."""

import os
import signal
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.errors import ServerFailed
from ops.processes import Daemon, Identity
from ops.servers.ports import refuse_taken
from ops.servers.programs import require
from ops.servers.secret import kept_password, write_private

READY_S = 20.0
STOP_S = 10.0


class RedisServer:
    """Runs one Redis with its files in ``directory``. Its data survive a restart.

    ``password_file`` keeps its random password; without it (in tests) there is none. ``append_only=False`` is for tests
    of a case that must never happen in production: a Redis that comes back empty.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        log_file: Path | None = None,
        append_only: bool = True,
        password_file: Path | None = None,
    ) -> None:
        self.directory = directory
        self._password_file = password_file
        self.port = port
        self._append_only = append_only
        self._daemon = Daemon("redis", directory / "redis.pid", log_file or directory / "redis.log")

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password_file else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def _password(self) -> str | None:
        return kept_password(self._password_file) if self._password_file else None

    def start(self) -> None:
        """Starts Redis, and returns when it answers. Raises ServerMissing or ServerFailed."""
        program = require("redis-server")
        refuse_taken("Redis", [self.port])
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        # The password is in a file, because every user of the machine can read arguments.
        configuration = self.directory / "redis.conf"
        write_private(configuration, f"requirepass {self._password}\n" if self._password_file else "")
        self._daemon.spawn([str(program), str(configuration), *self._arguments(data)], dict(os.environ))
        self.wait_ready()

    def _arguments(self, data: Path) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(data),
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if not self.running():
                raise ServerFailed(f"Redis ended while starting:\n{self._daemon.tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"Redis was not ready within {timeout_s:.0f} s:\n{self._daemon.tail()}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Tells whether Redis serves clients now (not while it loads its file)."""
        client = redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def identity(self) -> Identity | None:
        return self._daemon.identity()

    def running(self) -> bool:
        return self.identity() is not None

    def stop(self) -> None:
        """Ends Redis in good order. It has ended when this returns."""
        self._daemon.end(STOP_S)

    def kill(self) -> None:
        """Ends Redis with SIGKILL, which is like a crash."""
        self._daemon.kill()

    def pause(self) -> None:
        """Freezes Redis with all connections open, as if its machine were unresponsive."""
        self._daemon.freeze()

    def resume(self) -> None:
        self._daemon.signal(signal.SIGCONT)
