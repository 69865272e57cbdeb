"""Runs nginx as every HTTP provider at once: it gives one constant answer per vendor and counts the requests served."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.envelopes import PRODUCT_UPDATE
from bench.errors import BenchFailed
from bench.processes import Child, listens, wait_until
from ops.errors import ServerMissing
from ops.servers.programs import require

_CONFIG = """
daemon off;
worker_processes 1;
error_log {directory}/error.log crit;
pid {directory}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
    default_type application/json;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /count {{ stub_status; }}
        location = /token {{ return 200 '{token}'; }}
        location /templates/ {{ return 200 '{template}'; }}
        location /2010-04-01/ {{ return 201 '{twilio}'; }}
        location / {{ return 200 '{fcm}'; }}
    }}
}}
"""
_FCM = {"name": "projects/p/messages/1"}
_TWILIO = {"sid": "SM00000000000000000000000000000001", "status": "queued"}
_TOKEN = {"access_token": "bench", "expires_in": 3600, "token_type": "Bearer"}


class Provider:
    """Controls a running nginx that counts its requests."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        self._asked = 0

    def served(self) -> int:
        """Returns the requests answered since the start, without those of this method. Exact: nginx has one worker."""
        self._connection.request("GET", "/count")
        status = self._connection.getresponse().read().decode()
        self._asked += 1
        requests = re.search(r"requests\s+\d+ \d+ (\d+)", status)
        if requests is None:
            raise BenchFailed(f"nginx answered no count: {status[:200]}")
        return int(requests[1]) - self._asked

    def close(self) -> None:
        self._connection.close()


@contextmanager
def running(directory: Path, port: int) -> Iterator[Provider]:
    """Runs nginx on ``port`` with its files under ``directory``."""
    try:
        program = require("nginx")
    except ServerMissing as missing:
        raise BenchFailed(str(missing)) from missing
    home = directory / "nginx"
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text(_config(home, port))
    child = Child("nginx", [program, "-p", home, "-c", config, "-e", home / "error.log"], directory / "nginx.log")
    provider = Provider(child, port)
    try:
        wait_until(lambda: listens(port), "nginx", 10, [child])
        yield provider
    finally:
        provider.close()
        child.stop()


def _config(home: Path, port: int) -> str:
    # nginx takes $ for a variable, ' for the end and \\ for an escape: no answer may contain one of them.
    answers = {"template": PRODUCT_UPDATE, "fcm": _FCM, "twilio": _TWILIO, "token": _TOKEN}
    return _CONFIG.format(directory=home, port=port, **{name: json.dumps(answer) for name, answer in answers.items()})
