"""Runs one process of the stand-in: it answers /health on the port from its settings, until SIGTERM.

A file ``<name>.fails`` in the working directory makes it end at once, ``<name>.refuses`` makes it end with the exit
code of bad settings, and ``degraded`` makes it report that status.
"""

import json
import signal
import socket
import sqlite3
import sys
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from shared.settings.load import load_settings
from shared.settings.settings import Settings


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        degraded = Path("degraded").exists()
        channel = {"queue": "push.queue", "consumers": 0 if degraded else 1}
        health = {"status": "degraded" if degraded else "healthy", "broker": "up", "channels": {"push": channel}}
        body = json.dumps(health).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Writes nothing, because the tests check the output."""


def main(name: str) -> None:
    settings = load_settings()
    if Path(f"{name}.fails").exists():
        sys.exit(f"{name} fails because it was told to")
    if Path(f"{name}.refuses").exists():
        print(f"{name.upper()}_PROVIDERS: required", file=sys.stderr)
        sys.exit(2)

    def stop(signum: int, frame: FrameType | None) -> None:
        print(json.dumps({"event": "stopped"}), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    started = {
        "event": "started",
        "rabbitmq": settings.broker.url,
        "redis": settings.redis.url,
        "database": f"{settings.database.url} {_revision(settings)}",
    }
    print(json.dumps(started), flush=True)
    with ExitStack() as ports:
        server = ports.enter_context(ThreadingHTTPServer(("127.0.0.1", _port(name, settings)), Health))
        if name == "sandbox":
            ports.enter_context(socket.create_server(("127.0.0.1", settings.sandbox.smtp_port)))
        if name == "websocket":
            ports.enter_context(socket.create_server(("127.0.0.1", settings.sockets.port)))
        server.serve_forever()


def _revision(settings: Settings) -> str:
    """Returns the revision of the tables that it finds when it starts."""
    assert settings.database.file is not None
    with closing(sqlite3.connect(settings.database.file)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _port(name: str, settings: Settings) -> int:
    fixed = {"gateway": settings.gateway.port, "sandbox": settings.sandbox.port}
    return fixed.get(name) or settings.channels[name].port + 10 * settings.worker.replica
