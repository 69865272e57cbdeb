"""Attacks a gateway process with real sockets: whatever slow and greedy clients do, others are served."""

import json
import re
import resource
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.connections.guard import HEAD_S
from gateway.connections.progress import MOST_READERS
from ops.servers import RabbitMQServer, RedisServer
from tests.support.gateway_process import GatewayProcess, children, gateway_process
from tests.support.waiting import eventually

#: half of the product's default, and enough for a client that is slow but in time, also on a busy machine
RECEIVE_S = 5.0
CONNECTIONS = 400
MIB = 1024 * 1024
HEAD = b"POST /notifications HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQServer, redis_server: RedisServer
) -> Iterator[GatewayProcess]:
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq.management.create_vhost(vhost)
    directory = tmp_path_factory.mktemp("gateway")
    with gateway_process(
        directory,
        rabbitmq.vhost_url(vhost),
        redis_server.url,
        GATEWAY_RECEIVE_S=f"{RECEIVE_S:g}",
        GATEWAY_CONNECTIONS=str(CONNECTIONS),
    ) as running:
        yield running
    rabbitmq.management.delete_vhost(vhost)


def push(request_id: str, **change: Any) -> dict[str, Any]:
    content = {"title": "t", "body": "b"}
    return {"request_id": request_id, "notification_type": "push", "user_id": "u", "content": content} | change


class Attackers:
    """Holds connections that begin with ``first`` and then send ``more`` every half second, if there is any."""

    def __init__(self, port: int, number: int, first: bytes, more: bytes = b"") -> None:
        self.sockets: list[socket.socket] = []
        for _ in range(number):
            attacker = socket.create_connection(("127.0.0.1", port), timeout=5)
            attacker.sendall(first)
            attacker.setblocking(False)
            self.sockets.append(attacker)
        self._more = more
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self) -> None:
        while not self._stop.wait(0.5):
            for attacker in list(self.sockets):
                try:
                    attacker.send(self._more)
                except OSError:
                    continue

    def alive(self) -> int:
        """Returns how many connections the gateway has not ended."""
        return sum(not _is_over(attacker) for attacker in self.sockets)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for attacker in self.sockets:
            attacker.close()


def _is_over(attacker: socket.socket) -> bool:
    try:
        while data := attacker.recv(65536):
            assert data
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.fixture
def attack(gateway: GatewayProcess) -> Iterator[Callable[..., Attackers]]:
    with ExitStack() as stack:

        def start(number: int, first: bytes, more: bytes = b"") -> Attackers:
            attackers = Attackers(gateway.port, number, first, more)
            stack.callback(attackers.close)
            return attackers

        yield start


def _took_s(gateway: GatewayProcess, path: str = "/health") -> float:
    began = time.monotonic()
    # A new connection each time: it must be accepted, too.
    assert requests.get(f"{gateway.url}{path}", timeout=3).status_code == 200
    return time.monotonic() - began


def _cut(gateway: GatewayProcess, rule: str) -> float:
    found = re.search(rf'notify_connections_cut_total\{{rule="{rule}"\}} (\S+)', gateway.get("/metrics").text)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b"Content-Length: 60000\r\n\r\n", b""),
        (b"Content-Length: 60000\r\n\r\n{", b" "),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\n[", b""),
        (b"Expect: 100-continue\r\nContent-Length: 60000\r\n\r\n", b""),
    ],
)
def test_bodies_that_do_not_end_silence_nobody_and_are_cut(
    gateway: GatewayProcess, attack: Callable[..., Attackers], body: bytes, more: bytes
) -> None:
    before = _cut(gateway, "request")
    # More than the process has threads.
    attackers = attack(300, HEAD + body, more)
    deadline = time.monotonic() + RECEIVE_S + 10
    while attackers.alive():
        assert time.monotonic() < deadline
        assert _took_s(gateway) < 2
        assert _took_s(gateway, "/health/live") < 2
        time.sleep(0.2)
    # Those beyond the readers were refused at once, the others were cut.
    assert before < _cut(gateway, "request") <= before + MOST_READERS
    assert gateway.post(push(uuid.uuid4().hex)).status_code == 202


def test_a_slow_client_that_is_fast_enough_is_served(gateway: GatewayProcess) -> None:
    body = json.dumps(push(uuid.uuid4().hex)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        pieces = 5
        for start in range(0, len(request), len(request) // pieces + 1):
            client.sendall(request[start : start + len(request) // pieces + 1])
            time.sleep(RECEIVE_S / pieces / 2)
        assert client.recv(65536).startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize(("first", "more"), [(b"", b""), (HEAD[:30], b""), (HEAD, b"X-A: b\r\n")])
def test_heads_that_do_not_end_silence_nobody_and_are_cut(
    gateway: GatewayProcess, attack: Callable[..., Attackers], first: bytes, more: bytes
) -> None:
    attackers = attack(200, first, more)
    deadline = time.monotonic() + HEAD_S + 10
    while attackers.alive():
        assert time.monotonic() < deadline
        assert _took_s(gateway) < 2
        time.sleep(0.2)
    assert _cut(gateway, "head") > 0


def test_a_crowd_of_idle_connections_makes_room(gateway: GatewayProcess, attack: Callable[..., Attackers]) -> None:
    """Each connection has had an answer, so that it may be idle for 75 seconds."""
    attackers: list[Attackers] = []
    for _ in range(4):
        attackers.append(attack(95, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        eventually(lambda: _took_s(gateway) < 2, 10)
    eventually(lambda: sum(each.alive() for each in attackers) <= CONNECTIONS * 0.9, 10)
    assert _took_s(gateway) < 2
    assert _cut(gateway, "crowded") > 0


def test_an_idle_connection_outlives_every_deadline_of_a_request(
    gateway: GatewayProcess, attack: Callable[..., Attackers]
) -> None:
    """A balancer keeps its connections for later; waiting for the end of the 75 seconds would be a slow test."""
    # The crowd of an earlier test would have this connection closed, because it has been idle for longest.
    eventually(lambda: _connections(gateway) < CONNECTIONS / 2, 30)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
        _ask_whether_it_lives(client)
        # It is cut when its head is late, which is no sooner than a whole request would be late.
        assert HEAD_S >= RECEIVE_S
        unending = attack(1, HEAD, b"X-A: b\r\n")
        eventually(lambda: not unending.alive(), HEAD_S + 10)
        _ask_whether_it_lives(client)


def _connections(gateway: GatewayProcess) -> int:
    """Returns the number of established connections of clients, as the kernel lists them."""
    here, established = f":{gateway.port:04X}", "01"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(here) and row[3] == established for row in rows)


def _ask_whether_it_lives(client: socket.socket) -> None:
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        part = client.recv(65536)
        assert part, f"the connection was closed after {answer!r}"
        answer += part
    assert answer.startswith(b"HTTP/1.1 200")


def _memory_kib(gateway: GatewayProcess) -> int:
    """Returns the peak memory of the gateway's worker."""
    (worker,) = [pid for pid in children(gateway.process.pid) if _is_worker(pid)]
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert found
    return int(found[1])


def _is_worker(pid: int) -> bool:
    return "VmHWM" in Path(f"/proc/{pid}/status").read_text() and b"resource_tracker" not in (
        Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def _filled(item: str) -> bytes:
    return b"[" + ",".join([item] * ((4 * MIB - 2) // (len(item) + 1))).encode() + b"]"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (_filled("{}"), 422),
        (_filled("[]"), 422),
        (_filled("7"), 422),
        (b"[" + _filled("{}")[2:] + b"]", 400),
        (b"[" + _filled("[]")[:-2] + b"]]", 413),
        (b"[" * (4 * MIB), 400),
        (b'[{"a":' * (MIB // 2), 400),
        (b'["' + b"x" * (4 * MIB - 4) + b'"]', 413),
        (b"[" + b"1" * (4 * MIB - 2) + b"]", 400),
        # A thousand items, each of which could name hundreds of faults.
        (json.dumps([{f"f{n}": 1 for n in range(280)}] * 1_000, separators=(",", ":")).encode(), 200),
    ],
)
def test_a_batch_of_four_megabytes_costs_little_memory(gateway: GatewayProcess, body: bytes, status: int) -> None:
    assert len(body) <= 4 * MIB
    gateway.get("/health")
    before = _memory_kib(gateway)
    answer = requests.post(
        f"{gateway.url}/notifications/batch", data=body, headers={"Content-Type": "application/json"}, timeout=15
    )
    assert answer.status_code == status
    assert len(answer.content) < 4 * MIB
    # The peak never falls, so what an earlier case needed is not counted again: together they stay below this, too.
    assert _memory_kib(gateway) - before < 60 * 1024


def test_many_batches_at_a_time_are_answered_or_refused(gateway: GatewayProcess) -> None:
    body = _filled('{"request_id":"x"}')
    before = _memory_kib(gateway)
    statuses: list[int] = []

    def post() -> None:
        headers = {"Content-Type": "application/json"}
        statuses.append(
            requests.post(f"{gateway.url}/notifications/batch", data=body, headers=headers, timeout=30).status_code
        )

    threads = [threading.Thread(target=post) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {422, 503}
    assert len(statuses) == 40
    assert _memory_kib(gateway) - before < 400 * 1024
    assert gateway.post(push(uuid.uuid4().hex)).status_code == 202


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:5050", "localhost.evil.example"]
)
def test_another_name_for_this_machine_is_not_answered(gateway: GatewayProcess, host: str) -> None:
    for path in ("/failed", "/health", "/metrics", "/openapi.json"):
        assert requests.get(f"{gateway.url}{path}", headers={"Host": host}, timeout=5).status_code == 421
    refused = requests.post(f"{gateway.url}/notifications", json=push("x"), headers={"Host": host}, timeout=5)
    assert refused.status_code == 421
    assert gateway.get("/health/live").headers["X-Content-Type-Options"] == "nosniff"


def test_a_head_without_a_host_or_with_two_is_not_answered(gateway: GatewayProcess) -> None:
    for head in (
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
            client.sendall(head)
            assert b" 200 " not in client.recv(65536).split(b"\r\n")[0]


def test_a_long_head_is_refused(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b"x" * 65536)
            assert client.recv(65536).startswith(b"HTTP/1.1 431")
            raise ConnectionResetError
    assert _took_s(gateway) < 2


def test_an_operation_that_takes_long_is_not_cut(
    gateway: GatewayProcess, rabbitmq: RabbitMQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stands still, so that the answer takes the gateway's whole five seconds after a slow body."""
    body = json.dumps(push(uuid.uuid4().hex)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(RECEIVE_S - 3)
        rabbitmq.pause()
        try:
            client.sendall(body)
            assert client.recv(65536).startswith(b"HTTP/1.1 503")
        finally:
            rabbitmq.resume()
    eventually(lambda: gateway.post(push(uuid.uuid4().hex)).status_code == 202, 30)


def test_open_files_are_raised_and_idle_connections_end_as_they_were_told_at_the_start(
    tmp_path: Path, vhost_url: str, redis_url: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with gateway_process(tmp_path, vhost_url, redis_url, GATEWAY_KEEP_ALIVE_S="2") as gateway:
            (worker, *_) = children(gateway.process.pid)
            limits = Path(f"/proc/{worker}/limits").read_text()
            raised = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits)
            assert raised
            assert int(raised[1]) == min(hard, 65_536)
            client = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
            with closing(client):
                client.request("GET", "/health/live")
                answer = client.getresponse()
                assert answer.status == 200
                # An answer may come in several parts; only what follows its last one is the end of the connection.
                answer.read()
                began = time.monotonic()
                assert client.sock.recv(1) == b""
                assert time.monotonic() - began > 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
