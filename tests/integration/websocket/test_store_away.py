"""Tests a node whose database is away when it starts: it serves devices when the database is there, or ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared.store import schema
from shared.store.database import Database
from tests.support.realtime.node_process import NodeProcess
from tests.support.realtime.stage import serving
from tests.support.waiting import eventually_async


@pytest.fixture
def in_the_way(tmp_path: Path) -> Path:
    """Returns a file where the directory of the database has to be."""
    path = tmp_path / "store"
    path.touch()
    return path


def make_database(path: Path, revision: str = "0001") -> None:
    path.parent.unlink()
    made = Database(f"sqlite:///{path}")
    schema.upgrade(made)
    made.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()


async def test_devices_are_served_when_the_store_is_there(in_the_way: Path, redis_url: str) -> None:
    path = in_the_way / "notify.db"
    async with serving(f"sqlite:///{path}", redis_url) as stage:
        assert (await (await stage.connect()).farewell())["code"] == 1013
        make_database(path)
        await stage.add()
        device = await stage.connect()
        assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]


async def test_a_store_that_does_not_fit_ends_the_node_when_it_is_there(
    in_the_way: Path, redis_url: str, tmp_path: Path
) -> None:
    path = in_the_way / "notify.db"
    node = NodeProcess(tmp_path, "node", DATABASE_URL=f"sqlite:///{path}", REDIS_URL=redis_url, POSITION_CHECK_S="1")
    try:
        await node.wait_ready()
        assert "store_not_checked" in node.log.read_text()
        make_database(path, "0999")
        await eventually_async(lambda: node.process.poll() is not None, 20)
        assert node.process.poll() == 2
        assert "DATABASE_URL: the database is newer than this version (0999, not 0001)" in node.log.read_text()
    finally:
        node.kill()
