"""Tests what a gateway process answers about inboxes while their database is locked, full, away or of another version.

The whole time notifications are accepted, because accepting them does not touch the database.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from ops.servers import PostgreSQLServer
from shared.store import schema
from shared.store.database import Database
from shared.store.store import Store
from shared.store.values import Owner
from tests.support.gateway_process import GatewayProcess, children, gateway_process, push
from tests.support.stores import Databases, check_inboxes, new
from tests.support.waiting import eventually

USER = "ann@secret.example"
ANN = Owner(USER)
#: A lock is waited for for 3 to 5 seconds, a frozen server for 15.
LOCKED_S = 10.0


@contextmanager
def serving(tmp_path: Path, vhost_url: str, redis_url: str, url: str) -> Iterator[tuple[GatewayProcess, Store]]:
    """Yields a gateway and its store, in which ann has two notifications."""
    with closing(Store(url)) as store:
        store.insert([new(USER, "1"), new(USER, "2")])
        with gateway_process(tmp_path, vhost_url, redis_url, DATABASE_URL=url) as gateway:
            yield gateway, store
            check_inboxes(store)


@pytest.fixture
def on_sqlite(
    tmp_path: Path, vhost_url: str, redis_url: str, databases: Databases
) -> Iterator[tuple[GatewayProcess, Store]]:
    with databases.empty("sqlite") as url, serving(tmp_path, vhost_url, redis_url, url) as both:
        yield both


def patch(gateway: GatewayProcess, body: dict[str, Any], path: str = "") -> requests.Response:
    return requests.patch(f"{gateway.url}/users/{USER}/inbox{path}", json=body, timeout=30)


def check_unavailable(
    gateway: GatewayProcess, answer: requests.Response, why: str, detail: str = "does not answer"
) -> None:
    """Checks the answer to the caller, the counter and the log line."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert detail in answer.json()["detail"]
    assert "sending it again is safe" in answer.json()["detail"]
    counted = re.search(r"^notify_store_unavailable_total (\S+)", gateway.get("/metrics").text, re.MULTILINE)
    assert counted
    assert float(counted[1]) >= 1
    eventually(lambda: why in gateway.log.read_text())
    assert USER not in gateway.log.read_text()


def check_accepts(gateway: GatewayProcess) -> None:
    assert gateway.post(push("while-away", notification_type="websocket")).status_code == 202
    assert gateway.get("/health/ready").status_code == 200


def path_of(store: Store) -> Path:
    assert store.database.path is not None
    return store.database.path


@pytest.mark.parametrize("how", ["by a process that is frozen", "by a backup"])
def test_a_locked_database_can_be_read_and_is_503_for_changes(
    on_sqlite: tuple[GatewayProcess, Store], how: str
) -> None:
    gateway, store = on_sqlite
    path = path_of(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        lock = os.open(path.with_name(f"{path.name}.write"), os.O_RDWR | os.O_CREAT)
        if how == "by a backup":
            other.execute("BEGIN IMMEDIATE")
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        began_s = time.monotonic()
        answer = patch(gateway, {"upto": 2**53 - 1, "read": True})
        assert time.monotonic() - began_s < LOCKED_S
        check_unavailable(gateway, answer, "the database is busy" if how != "by a backup" else "SQLITE_BUSY")
        assert gateway.get(f"/users/{USER}/inbox").json()["unread"] == 2
        check_accepts(gateway)
        if how == "by a backup":
            other.execute("ROLLBACK")
        os.close(lock)
    assert store.summary(ANN).unread == 2
    assert patch(gateway, {"upto": 2**53 - 1, "read": True}).json()["unread"] == 0


def test_many_changes_that_wait_for_a_locked_database_delay_nobody_else(
    on_sqlite: tuple[GatewayProcess, Store],
) -> None:
    gateway, store = on_sqlite
    users = [f"user-{number}" for number in range(60)]
    store.insert([new(user, "1") for user in users])
    path = path_of(store)
    lock = os.open(path.with_name(f"{path.name}.write"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def change(user: str) -> int:
        target = f"{gateway.url}/users/{user}/inbox"
        return requests.patch(target, json={"upto": 2**53 - 1, "read": True}, timeout=30).status_code

    with ThreadPoolExecutor(len(users)) as threads:
        waiting = [threads.submit(change, user) for user in users]
        while not all(one.done() for one in waiting):
            began_s = time.monotonic()
            assert gateway.post(push(f"r{began_s}")).status_code == 202
            assert gateway.get("/health/live").status_code == 200
            assert time.monotonic() - began_s < 2
        assert {one.result() for one in waiting} == {503}
        os.close(lock)
        assert list(threads.map(change, users[:10])) == [200] * 10


def test_on_a_full_disk_nothing_is_said_to_be_changed_that_is_not(on_sqlite: tuple[GatewayProcess, Store]) -> None:
    gateway, store = on_sqlite
    newest = store.page(ANN).items[0].id
    (worker,) = [pid for pid in children(gateway.process.pid) if "VmHWM" in Path(f"/proc/{pid}/status").read_text()]
    wal = path_of(store).with_name("notify.db-wal")
    patch(gateway, {"read": True}, f"/{newest}")
    _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (wal.stat().st_size + 50_000, hard))
    said = 0
    for number in range(1_000):
        answer = patch(gateway, {"read": number % 2 == 0}, f"/{newest}")
        if answer.status_code != 200:
            break
        said = answer.json()["item"]["offset"]
    check_unavailable(gateway, answer, "SQLITE_")
    # What was said to be changed is stored, and nothing else.
    assert store.summary(ANN).position.offset == said
    assert said > 3
    assert gateway.get(f"/users/{USER}/inbox/count").status_code == 200
    check_accepts(gateway)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert patch(gateway, {"archived": True}, f"/{newest}").json()["item"]["offset"] == said + 1


def test_a_server_that_is_away_or_frozen_makes_health_degraded_and_is_found_again(
    tmp_path: Path, vhost_url: str, redis_url: str, databases: Databases, postgresql: PostgreSQLServer
) -> None:
    with (
        databases.empty("postgresql") as url,
        serving(tmp_path, vhost_url, redis_url, url) as (gateway, _),
    ):
        assert gateway.get("/health").json()["store"] == "up"
        postgresql.kill()
        check_unavailable(gateway, gateway.get(f"/users/{USER}/inbox"), "OperationalError")
        health = gateway.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["store"]) == (200, "degraded", "down")
        check_accepts(gateway)
        postgresql.start()
        assert patch(gateway, {"upto": 2**53 - 1, "read": True}).json()["unread"] == 0
        assert gateway.get("/health").json()["store"] == "up"
        postgresql.pause()
        try:
            assert gateway.get("/health").json()["store"] == "down"
            check_accepts(gateway)
        finally:
            postgresql.resume()
        eventually(lambda: gateway.get("/health").json()["store"] == "up", 30)


def test_without_tables_it_runs_and_serves_inboxes_once_they_are_made(
    tmp_path: Path, vhost_url: str, redis_url: str
) -> None:
    url = f"sqlite:///{tmp_path.resolve()}/new.db"
    with gateway_process(tmp_path, vhost_url, redis_url, DATABASE_URL=url) as gateway:
        assert "inboxes_unavailable" in gateway.log.read_text()
        answer = gateway.get(f"/users/{USER}/inbox")
        check_unavailable(gateway, answer, "run ./notify store upgrade", "has to be migrated")
        assert gateway.get("/health").json()["store"] == "down"
        database = Database(url)
        schema.upgrade(database)
        database.close()
        assert gateway.get(f"/users/{USER}/inbox").json() == {"items": [], "next": None, "unread": 0}
        assert gateway.get("/health").json()["store"] == "up"


def test_it_does_not_start_with_tables_of_a_newer_version(
    tmp_path: Path, vhost_url: str, redis_url: str, databases: Databases
) -> None:
    with databases.empty("sqlite") as url:
        become_newer(url)
        with gateway_process(tmp_path, vhost_url, redis_url, ready=False, DATABASE_URL=url) as gateway:
            assert gateway.process.wait(30) == 2
            assert "DATABASE_URL: the database is newer than this version (0999, not " in gateway.log.read_text()


def test_tables_of_a_newer_version_that_come_later_are_not_used(
    tmp_path: Path, vhost_url: str, redis_url: str, databases: Databases
) -> None:
    """The database was away when the process started."""
    with databases.empty("sqlite") as url:
        file, hidden = Path(url.removeprefix("sqlite:///")), tmp_path / "hidden.db"
        file.rename(hidden)
        file.mkdir()
        with gateway_process(tmp_path, vhost_url, redis_url, DATABASE_URL=url) as gateway:
            check_unavailable(gateway, gateway.get(f"/users/{USER}/inbox"), "SQLITE_CANTOPEN")
            file.rmdir()
            hidden.rename(file)
            become_newer(url)
            answer = gateway.get(f"/users/{USER}/inbox")
            assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable")
            eventually(lambda: "the database is newer than this version" in gateway.log.read_text())
            assert gateway.get("/health").json()["store"] == "down"
            check_accepts(gateway)


def become_newer(url: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
        database.commit()
