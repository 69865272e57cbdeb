"""Tests the timeline with real processes: gateway and tracker, reads in inboxes, and operators' replays."""

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

import requests

from shared.errors import Refusal, Refused
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_replay
from shared.realtime.reads import read_reports
from shared.store.store import Store
from shared.store.timeline.timeline import Timeline
from shared.store.values import Owner
from tests.support.gateway_process import ROOT, gateway_process, push
from tests.support.run.moved_clock import clock_variables
from tests.support.run.servers import run_ports
from tests.support.stores import new
from tests.support.timelines import reporting, tracking
from tests.support.waiting import eventually, eventually_async
from tests.support.workbench import ScriptedProvider, envelope, quick_settings, running


@contextmanager
def tracker_process(directory: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs ``python -m services.tracker`` as an operator does."""
    variables = {"PATH": os.environ["PATH"], **clock_variables(), "PYTHONPATH": str(ROOT), **settings}
    with (directory / "tracker.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.tracker"], cwd=directory, env=variables, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_what_the_gateway_accepts_is_shown_and_health_knows_the_tracker(
    vhost_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    (port,) = run_ports(1)
    common: Any = {"DATABASE_URL": database_url, "HEARTBEAT_S": "0.2"}
    servers = {"RABBITMQ_URL": vhost_url, "REDIS_URL": redis_url, "TRACKER_PORT": str(port)}
    with gateway_process(tmp_path, vhost_url, redis_url, **common) as gateway:

        def tracker() -> Any:
            return gateway.get("/health").json()["tracker"]

        assert tracker() == {"queue": "events.queue", "ready": None, "consumers": 0, "store": "up"}
        # No tracker runs: what is told waits in its queue.
        document = push("r-1")
        assert gateway.post(document).status_code == 202
        assert gateway.get("/notifications/r-1").status_code == 404
        with tracker_process(tmp_path, **common, **servers) as process:
            eventually(lambda: gateway.get("/notifications/r-1").ok)
            (channel,) = gateway.get("/notifications/r-1").json()["channels"]
            assert (channel["channel"], channel["status"], channel["user_id"]) == ("push", "pending", "u-1")
            assert [one["kind"] for one in channel["timeline"]] == ["accepted"]
            eventually(lambda: tracker() == {"queue": "events.queue", "ready": 0, "consumers": 1, "store": "up"})
            health = requests.get(f"http://127.0.0.1:{port}/health", timeout=5).json()
            assert (health["status"], health["queue"], health["store"]) == ("healthy", "events.queue", "up")
            metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
            assert "notify_events_written_total 1.0" in metrics

            # Killed in the middle of everything, and started again: nothing is missing, nothing is there twice.
            for n in range(30):
                assert gateway.post(push(f"k-{n}")).status_code == 202
                if n == 15:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
        with tracker_process(tmp_path, **common, **servers) as process:
            store = Store(database_url)
            timeline = Timeline(store.database)
            names = [f"k-{n}" for n in range(30)]
            eventually(lambda: all(timeline.of_request(name)[0] for name in names), 20)
            assert [len(timeline.of_request(name)[1]) for name in names] == [1] * 30
            store.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


async def test_what_a_user_reads_is_in_the_timeline(vhost_url: str, database_url: str) -> None:
    store, owner = Store(database_url), Owner("ada")
    stored = store.insert([new("ada", f"n-{n}", created_ms=1_795_161_600_000) for n in range(3)])
    first, _, last = [one.id for one in stored.results]  # type: ignore[union-attr]
    async with tracking(vhost_url, database_url) as tracker:
        changes = [
            store.mark(owner, [first], read=True),
            store.read_all(owner, last),
            store.mark(owner, [first], read=False),
        ]
        for change in changes:
            assert change is not None
            for one in read_reports(change):
                tracker.reporter.report(one)
        await tracker.idle()
        for n in range(3):
            (row,) = tracker.rows(f"n-{n}")
            assert (row.status, row.channel, row.client, row.created_ms) == (
                "read",
                "websocket",
                "shop",
                1_795_161_600_000,
            )
            assert tracker.kinds(f"n-{n}") == ["read"]
    store.close()


async def test_a_replay_is_told_and_ends_in_a_later_life(vhost_url: str, redis_url: str, database_url: str) -> None:
    errors: list[Exception] = []
    provider = ScriptedProvider(error=None)
    settings = quick_settings(vhost_url, redis_url, max_attempts_push=1)

    async def answer(_message: object) -> str:
        if errors:
            raise errors.pop()
        return "id"

    provider.script = answer
    errors.append(Refused(Refusal.PAYLOAD_REJECTED, "fcm 400 INVALID_ARGUMENT"))
    async with (
        tracking(vhost_url, database_url) as tracker,
        reporting(vhost_url) as events,
        running(settings, [provider], events=events) as bench,
    ):
        await bench.put("r-1", body=envelope("push", "r-1"), headers={"notify-client": "shop"})
        await eventually_async(lambda: [row.status for row in tracker.rows("r-1")] == ["failed"])
        done = await asyncio.wait_for(FailedQueue(settings).replay(parse_replay({"all": True}), operator="test"), 30)
        assert done.done == 1
        await eventually_async(lambda: [row.status for row in tracker.rows("r-1")] == ["sent"])
        await tracker.idle()
        kinds = tracker.kinds("r-1")
        assert kinds == ["attempted", "failed", "replayed", "attempted", "sent"]
        replays = [one.replay for one in tracker.told("r-1")]
        assert replays[:2] == [0, 0]
        assert len(set(replays[2:])) == 1
        assert replays[2] > 0
