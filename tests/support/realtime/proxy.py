"""Runs nginx with the configuration that docs/containers.md gives for a proxy in front of the nodes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.servers.ports import accepts
from ops.servers.programs import require
from tests.support.document import Document
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually

#: What the example cannot have, because it is a part of a whole configuration.
_AROUND = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {example}
}}
"""


class Proxy:
    """Is a running nginx; ``log`` is the file of its access log."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log


@contextmanager
def in_front_of(nodes: Sequence[int], gateway: int, directory: Path) -> Iterator[Proxy]:
    """Runs nginx in front of two nodes and a gateway, which are named by their ports."""
    port, log = run_ports(1)[0], directory / "notify.log"
    configuration = directory / "nginx.conf"
    configuration.write_text(_AROUND.format(directory=directory, example=_example(port, nodes, gateway, log)))
    errors = directory / "error.log"
    command = [str(require("nginx")), "-p", str(directory), "-c", str(configuration), "-e", str(errors)]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: process.poll() is not None or accepts(port))
        assert process.poll() is None, errors.read_text()
        yield Proxy(port, log)
    finally:
        process.terminate()
        process.wait(10)


def _example(port: int, nodes: Sequence[int], gateway: int, log: Path) -> str:
    found = re.search(r"<!-- nginx -->\n```nginx\n(.*?)```", Document("containers.md").text, re.DOTALL)
    assert found is not None
    text = found[1]
    here = {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "/var/log/nginx/notify.log": str(log),
        "127.0.0.1:5050": f"127.0.0.1:{gateway}",
        "127.0.0.1:5055": f"127.0.0.1:{nodes[0]}",
        "127.0.0.1:5065": f"127.0.0.1:{nodes[1]}",
    }
    for as_written, instead in here.items():
        assert text.count(as_written) == 1, as_written
        text = text.replace(as_written, instead)
    return text
