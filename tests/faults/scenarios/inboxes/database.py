"""Tests a database of the inboxes that is away, or that was put back from an earlier copy."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ops.place import ROOT
from shared.realtime.close_codes import OVERLOADED
from tests.faults.harness.scale import PATIENT_S, UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.backlog import watched
from tests.faults.load.hands import arriving, some_users, used

PER_USER = 5
#: A minute would show the same: breaker and pauses are shorter by the same factor.
AWAY_S, LOCKED_S = 15.0, 10.0
#: limit of ``./notify store restored``, seconds
COMMAND_S = 60.0
#: how often a device that comes in the meantime is sent away at most
MOST_SENT_AWAY = 1_000


@scenario()
async def store_down(trial: Trial) -> None:
    """PostgreSQL is killed with SIGKILL and stays down for 15 s: devices that are connected stay so, one that comes is
    sent away with 1013 and a time to come back, notifications are accepted and wait in their queue, and everything
    arrives afterwards.
    """
    async with trial.system(websocket=2, store="postgresql", provider_timeout_s=PATIENT_S) as system:
        server = trial.stage.postgresql()
        trial.bounds.ends[OVERLOADED.code] = MOST_SENT_AWAY
        # One more may come.
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER - 1)
        async with arriving(system, crowd, 100, per_s=50), used(system, crowd, per_s=5):
            await system.inboxes.stored(50)
        await crowd.all_equal(trial.bounds.equal_s)
        await asyncio.to_thread(server.kill)
        try:
            comers = system.inboxes.crowd(crowd.users[:5], 1)
            comers.start()
            async with watched(system, "websocket") as backlog, arriving(system, crowd, 600, per_s=40):
                await asyncio.sleep(AWAY_S)
            assert len(crowd.live) == len(crowd.devices), "a device that was connected did not stay"
            assert not comers.live, "a device shows an inbox that nobody could read"
            sent_away = [end.code for device in comers.devices for end in device.record.ends]
            assert set(sent_away) == {OVERLOADED.code}, f"devices that came were ended with {set(sent_away)}"
            assert backlog.waiting, "nothing waits in the queue"
            assert backlog.failed == 0, f"{backlog.failed} were given up"
        finally:
            await asyncio.to_thread(server.start)
        system.healed()
        trial.note(f"{backlog.waiting} waited in their queue; {backlog}; {len(sent_away)} times sent away")
        await comers.all_live()


@scenario()
async def store_locked(trial: Trial) -> None:
    """A process that is unresponsive holds the lock of the SQLite file for 10 s: inboxes can be read and devices can
    come, changes over HTTP are answered 503, notifications wait in their queue, and everything arrives afterwards.
    """
    async with trial.system(websocket=2, provider_timeout_s=PATIENT_S) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER - 1)
        async with arriving(system, crowd, 100, per_s=50), used(system, crowd, per_s=5):
            await system.inboxes.stored(50)
        with _locked(_file_of(system)):
            async with watched(system, "websocket") as backlog, arriving(system, crowd, 400, per_s=40):
                comers = await system.inboxes.connect(crowd.users, 1)
                asked = len(system.ledgers.answers)
                async with used(system, comers, per_s=5):
                    await asyncio.sleep(LOCKED_S)
        system.healed()
        refused = [each.status for each in system.ledgers.answers[asked:] if each.what.endswith("an inbox")]
        assert 503 in refused, f"changes were answered {set(refused)}"
        assert backlog.failed == 0, f"{backlog.failed} were given up"
        trial.note(f"{backlog.waiting} waited in their queue; {backlog}")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds the lock that every writer takes."""
    with file.with_name(f"{file.name}.write").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@scenario()
async def store_restored(trial: Trial) -> None:
    """The database is put back from a copy that lacks what devices have seen, and ``./notify store restored`` is run:
    each device starts anew, once, and keeps and lacks no row, also when the same offsets and ids are given out again.
    """
    async with trial.system(websocket=2, **UNHURRIED) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER)
        async with arriving(system, crowd, 150, per_s=50), used(system, crowd, per_s=10):
            pass
        await crowd.all_equal(trial.bounds.equal_s)
        file = _file_of(system)
        copy = system.directory / "backup.db"
        await asyncio.to_thread(_back_up, file, copy)
        async with arriving(system, crowd, 150, per_s=50), used(system, crowd, per_s=10):
            pass
        await crowd.all_equal(trial.bounds.equal_s)
        await system.inboxes.remember()
        # One that a stopping node has sent away may meet the other one before that stops.
        trial.bounds.ends[1012] = 2 * len(crowd.devices)
        trial.bounds.resets = len(crowd.devices)
        crowd.keep_away()
        await _replaced(trial, system, file, copy)
        # More than were lost: when the devices come back, their offsets mean other changes.
        before = await system.inboxes.count()
        async with arriving(system, crowd, 400, per_s=80):
            pass
        await system.inboxes.stored(before + 400)
        crowd.let_come()
        await crowd.all_live()
        system.healed()
        await crowd.all_equal(trial.bounds.equal_s)
        started_anew = sum(device.record.resets for device in crowd.devices)
        assert started_anew == len(crowd.devices), f"{started_anew} of {len(crowd.devices)} devices started anew"


async def _replaced(trial: Trial, system: System, file: Path, copy: Path) -> None:
    """Stops everything, puts the copy in the place of the database, says so, and starts everything again."""
    began = time.time()
    members = (*system.gateways, *system.workers)
    codes = await asyncio.gather(*(member.stop() for member in members))
    assert not any(codes), f"processes ended with {codes}"
    await asyncio.to_thread(system.inboxes.store.close)
    await asyncio.to_thread(_put_back, copy, file)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "store", "restored"),
        env={**system.variables, "NOTIFY_LOCAL_DIR": str(system.directory)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(COMMAND_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, f"./notify store restored: {said.decode()}"
    for gateway in system.gateways:
        gateway.start()
    await system.start_workers()
    for gateway in system.gateways:
        await system.ready(gateway, "/health/ready")
    trial.bounds.gateway_down.append((began, time.time()))


def _file_of(system: System) -> Path:
    return Path(system.inboxes.url.removeprefix("sqlite:///"))


def _back_up(file: Path, copy: Path) -> None:
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _put_back(copy: Path, file: Path) -> None:
    for left in file.parent.glob(f"{file.name}-*"):
        left.unlink()
    copy.replace(file)
