"""Runs a gateway as an operator does: ``python -m gateway`` on a free port, ended by SIGTERM."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import requests

from tests.support.envelopes import PUSH
from tests.support.run.moved_clock import clock_variables
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
START_S = 20.0


class GatewayProcess:
    """Controls a gateway process. ``settings`` are environment variables; its output goes to ``log``."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.port = run_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "gateway.log"
        variables = {
            "PATH": os.environ["PATH"],
            **clock_variables(),
            "PYTHONPATH": str(ROOT),
            "GATEWAY_PORT": str(self.port),
            # It has no tables, unless a test names another one.
            "DATABASE_URL": f"sqlite:///{directory.resolve()}/notify.db",
            **settings,
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=directory,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        eventually(self._ready, START_S)

    def stop(self) -> int:
        """Sends SIGTERM. Returns the exit code. Raises TimeoutExpired if the process does not end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def end(self) -> None:
        """Ends everything that is left of it, workers included."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def post(self, document: Any, path: str = "/notifications", **more: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=document, timeout=15, **more)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=15)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        try:
            return self.get("/health/ready").status_code == 200
        except requests.ConnectionError:
            return False


@contextmanager
def gateway_process(
    directory: Path, rabbitmq_url: str, redis_url: str, *, ready: bool = True, **settings: str
) -> Iterator[GatewayProcess]:
    """Yields the process once it can publish, or at once if ``ready`` is False."""
    made = GatewayProcess(directory, {"RABBITMQ_URL": rabbitmq_url, "REDIS_URL": redis_url, **settings})
    try:
        if ready:
            made.wait_ready()
        yield made
    finally:
        made.end()


def keys_of(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the setting of a gateway that knows the ``client`` of a golden document, and the headers of its calls.

    Both are empty if the document names no client.
    """
    client = document.get("client")
    if client is None:
        return {}, {}
    return {"API_KEYS": f"{client}:send:{hashlib.sha256(client.encode()).hexdigest()}"}, {"X-API-Key": client}


def push(request_id: str, **change: Any) -> dict[str, Any]:
    """Returns a push notification as a caller posts it; ``change`` replaces its fields."""
    return PUSH | {"request_id": request_id} | change


def taken(url: str, queue: str) -> list[tuple[pika.BasicProperties, bytes]]:
    """Takes every message out of the queue. Returns them."""
    found: list[tuple[pika.BasicProperties, bytes]] = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None or properties is None or body is None:
                return found
            found.append((properties, body))


def children(pid: int) -> list[int]:
    """Returns the process ids of a process's children, on Linux."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
