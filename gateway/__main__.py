"""``python -m gateway``: runs Granian with GATEWAY_PROCESSES workers until SIGTERM or SIGINT."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from gateway.connections.progress import MOST_READERS
from gateway.health.metrics_directory import metrics_directory
from gateway.http.auth import check_keys
from shared.errors import BadSettings, SchemaMismatch, StoreUnavailable
from shared.logs import complain, configure_logs
from shared.process.collector import calm_collector
from shared.process.open_files import raise_file_limit
from shared.settings.load import load_settings
from shared.settings.settings import Settings
from shared.store.store import Store

if TYPE_CHECKING:
    from flask import Flask

BAD_SETTINGS_EXIT = 2
#: Threads beyond those that may wait for the broker or for a body: some must stay free to answer 503, and /health.
SPARE_THREADS = 32
#: The longest head of a request, bytes. A connection can hold as many without ever completing a request.
MOST_HEAD_BYTES = 64 * 1024
#: How often a worker checks that its main process still runs, in seconds.
PARENT_LOOK_S = 1.0

log = structlog.get_logger(__name__)


def main() -> int:
    """Serves until it is stopped. Returns the exit code: 2 for bad settings, each of which is named on stderr."""
    try:
        settings = load_settings()
        check_keys(settings)
        problem = inbox_problem(settings)
    except BadSettings as exc:
        complain(*(f"{name}: {why}" for name, why in exc.problems))
        return BAD_SETTINGS_EXIT
    _configure_logs(settings)
    if problem is not None:
        log.warning("inboxes_unavailable", problem=problem)
    raise_file_limit()
    with metrics_directory():
        _serve(settings)
    return 0


def inbox_problem(settings: Settings) -> str | None:
    """Returns why inboxes cannot be served now, None if they can; notifications are accepted without them.

    Raises BadSettings if the database is older or newer than this version: its tables must not be used.
    """
    store = Store(settings.database.url, connections=1)
    try:
        store.check_schema()
    except SchemaMismatch as exc:
        if not exc.empty:
            raise
        return exc.problems[0][1]
    except StoreUnavailable as exc:
        return str(exc)
    finally:
        # A connection must not be shared with the worker processes that are forked from this one.
        store.close()
    return None


def _serve(settings: Settings) -> None:
    # Not imported earlier: it imports prometheus_client, which reads the metrics directory once, at its import.
    from gateway.wiring import MAX_WAITING, most_connections

    connections = most_connections(settings)
    log.info("gateway_starting", host=settings.listen_host, port=settings.gateway.port, connections=connections)
    server = Granian(
        "gateway",
        address=settings.listen_host,
        port=settings.gateway.port,
        interface=Interfaces.WSGI,
        workers=settings.gateway.processes,
        blocking_threads=MAX_WAITING + MOST_READERS + SPARE_THREADS,
        backpressure=connections,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        # This time-out of a head runs while a connection is idle, too: the guard sees to heads that take too long.
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.gateway.keep_alive_s * 1000), max_buffer_size=MOST_HEAD_BYTES
        ),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=round(settings.worker.shutdown_s),
        log_enabled=False,
    )
    server.serve(target_loader=_worker, wrap_loader=False)


def _worker() -> Flask:
    """Builds the app in the worker process: a connection or a thread made before fork would be shared or lost."""
    from gateway.app import create_app
    from gateway.wiring import connect

    # Until Granian installs the worker's own signal handlers, the worker has its parent's, which would swallow a stop.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    settings = load_settings()
    _configure_logs(settings)
    app = create_app(settings, connect(settings))
    calm_collector()
    return app


def _end_with_parent() -> None:
    """Stops this worker in good order when the main process is gone.

    Without it a worker whose main process was killed would serve indefinitely, beside the gateway that is started next
    (they share the port), and stopping that gateway would not stop it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Waiting for the parent's sentinel is not enough: workers that were forked after this one hold it open, so a
        # single one that is slow to stop would keep all the earlier ones alive.
        while os.getppid() == parent.pid:
            parent.join(PARENT_LOOK_S)
        log.warning("gateway_orphaned")
        os.kill(os.getpid(), signal.SIGTERM)


def _configure_logs(settings: Settings) -> None:
    configure_logs("gateway", settings.system.log_level, settings.system.log_format)


if __name__ == "__main__":
    sys.exit(main())
