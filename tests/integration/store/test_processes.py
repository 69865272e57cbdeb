"""Tests that every process that uses the database says what is wrong with its tables and exits with 2."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from shared.store import schema
from shared.store.database import Database

ROOT = Path(__file__).parents[3]
#: Nothing answers there, and nothing has to: the database is looked at first.
NOWHERE = {"RABBITMQ_URL": "amqp://127.0.0.1:1/", "REDIS_URL": "redis://127.0.0.1:1/0"}
PROCESSES = {
    "consumer": ("services.websocket", {"WEBSOCKET_ROLE": "consumer"}),
    "node": ("services.websocket", {"WEBSOCKET_ROLE": "sockets"}),
    "both": ("services.websocket", {}),
    "gateway": ("gateway", {}),
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "notify.db"
    opened = Database(f"sqlite:///{path}")
    schema.upgrade(opened)
    opened.close()
    return path


def start(process: str, database: Path, cwd: Path) -> tuple[int, str]:
    """Runs a process until it ends. Returns its exit code and what it wrote."""
    module, settings = PROCESSES[process]
    ran = subprocess.run(
        [sys.executable, "-m", module],
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"sqlite:///{database}",
            **NOWHERE,
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("process", PROCESSES)
def test_a_newer_database_ends_it(process: str, database: Path, tmp_path: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    code, said = start(process, database, tmp_path)
    assert code == 2, said
    assert "DATABASE_URL: the database is newer than this version (0999, not 0001)" in said


@pytest.mark.parametrize("process", ["consumer", "node", "both"])
def test_a_database_without_tables_ends_it(process: str, tmp_path: Path) -> None:
    code, said = start(process, tmp_path / "empty.db", tmp_path)
    assert code == 2, said
    assert "DATABASE_URL: the database has no tables yet: run ./notify store upgrade" in said
