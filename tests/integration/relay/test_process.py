"""Runs the relay as an operator does, kills it under load, and counts what has arrived."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from ops.place import ROOT
from tests.support.outbox import insert, queued
from tests.support.publishing import publishing
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually, eventually_async

KILLS = 10
TRANSACTIONS, ROWS = 300, 10


@contextmanager
def relay_process(directory: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RELAY_PORT": str(run_ports(1)[0]), **variables}
    with (directory / "relay.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.relay"], cwd=directory, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def marked(connection: psycopg.Connection[Any]) -> int:
    [count] = connection.execute(
        "SELECT count(*) FROM notification_outbox WHERE published_at IS NOT NULL"
    ).fetchone() or (0,)
    return int(count)


async def test_exactly_what_was_committed_arrives_although_the_relay_is_killed_ten_times(
    outbox_url: str, vhost_url: str, tmp_path: Path
) -> None:
    committed: list[str] = []

    def write() -> None:
        with psycopg.connect(outbox_url) as upstream:
            for number in range(TRANSACTIONS):
                ids = insert(upstream, ROWS, f"t{number}")
                # Each third transaction is taken back: nobody may ever see it.
                if number % 3 == 2:
                    upstream.rollback()
                else:
                    upstream.commit()
                    committed.extend(ids)

    # The topology must be there for the queues to be read; the relay declares it too.
    async with publishing(vhost_url):
        pass
    settings = {"OUTBOX_URL": outbox_url, "RABBITMQ_URL": vhost_url}
    writing = asyncio.create_task(asyncio.to_thread(write))
    with psycopg.connect(outbox_url, autocommit=True) as upstream:
        for _ in range(KILLS):
            before = marked(upstream)

            def has_worked(before: int = before) -> bool:
                return marked(upstream) > before or writing.done()

            with relay_process(tmp_path, **settings):
                # It is killed as soon as it has done something, in the middle of whatever it does next.
                await eventually_async(has_worked, 30)
        await writing
        with relay_process(tmp_path, **settings):
            await eventually_async(lambda: marked(upstream) == len(committed), 60)
    arrived = [one["request_id"] for one in await asyncio.to_thread(queued, vhost_url)]
    assert set(arrived) == set(committed)


def test_it_stops_within_a_moment_and_says_what_is_missing(outbox_url: str, vhost_url: str, tmp_path: Path) -> None:
    with relay_process(tmp_path, OUTBOX_URL=outbox_url, RABBITMQ_URL=vhost_url) as process:
        log = tmp_path / "relay.log"
        eventually(lambda: b"relay_started" in log.read_bytes(), 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    with relay_process(tmp_path, RABBITMQ_URL=vhost_url) as process:
        assert process.wait(20) == 2
    assert b"OUTBOX_URL" in log.read_bytes()
