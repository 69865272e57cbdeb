"""Tests the tasks of a worker process: one that dies ends all, with its error, after the messages in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import TopologyMismatch
from shared.health.heartbeat import Heartbeat
from shared.health.registry import Forced, WorkerState
from shared.worker.run import Beside, supervise


class Beats(WorkerState):
    """Replaces the worker's state in Redis. ``on_beat`` may raise."""

    def __init__(self, on_beat: Callable[[], None] = lambda: None) -> None:
        self.on_beat = on_beat
        self.beats = 0
        self.removed = False

    async def beat(self, _state: Mapping[str, Any]) -> None:
        self.beats += 1
        self.on_beat()

    async def forced(self) -> dict[str, Forced]:
        return {}

    async def remove(self) -> None:
        self.removed = True


class Working:
    """Replaces the worker: runs until it is stopped or cancelled, then finishes."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.stopped = asyncio.Event()
        self.finished = False

    async def run(self) -> None:
        try:
            if self.error is not None:
                raise self.error
            await self.stopped.wait()
        finally:
            await asyncio.sleep(0)
            self.finished = True


async def for_ever() -> None:
    await asyncio.Event().wait()


def gives_up(error: Exception) -> Callable[[], Awaitable[None]]:
    async def watch() -> None:
        raise error

    return watch


async def supervised(
    worker: Working, beats: Beats, watch: Callable[[], Awaitable[None]] = for_ever, **beside: Beside
) -> None:
    publisher: Any = SimpleNamespace(connection=SimpleNamespace(watch=watch))
    running: Any = worker
    heartbeat = Heartbeat(beats, 0.01, dict, lambda _: None)
    async with asyncio.timeout(5):
        await supervise(running, publisher, heartbeat, beside)


def stumble() -> None:
    raise KeyError("unforeseen")


async def test_a_stop_ends_every_task_and_removes_the_heartbeat() -> None:
    worker = Working()
    beats = Beats(on_beat=worker.stopped.set)
    await supervised(worker, beats)
    assert worker.finished
    assert beats.beats >= 1
    assert beats.removed


async def test_a_heartbeat_that_dies_ends_the_process_after_the_messages_in_flight() -> None:
    worker = Working()
    with capture_logs() as lines, pytest.raises(KeyError, match="unforeseen"):
        await supervised(worker, Beats(on_beat=stumble))
    assert worker.finished
    assert {"event": "task_died", "log_level": "error", "task": "heartbeat", "error": "'unforeseen'"} in lines


@pytest.mark.parametrize("error", [TopologyMismatch("another limit"), KeyError("unforeseen")])
async def test_a_publishing_connection_that_gives_up_ends_the_process_with_its_reason(error: Exception) -> None:
    worker = Working()
    with pytest.raises(type(error)) as raised:
        await supervised(worker, Beats(), gives_up(error))
    assert raised.value is error
    assert worker.finished


async def test_a_worker_that_dies_ends_the_process_and_the_heartbeat_with_it() -> None:
    beats = Beats()
    with pytest.raises(KeyError, match="unforeseen"):
        await supervised(Working(KeyError("unforeseen")), beats)
    so_far = beats.beats
    for _ in range(20):
        await asyncio.sleep(0)
    assert beats.beats == so_far


async def test_a_further_task_is_cancelled_when_the_worker_has_finished() -> None:
    worker, ended = Working(), asyncio.Event()

    async def further() -> None:
        try:
            await for_ever()
        finally:
            assert worker.finished
            ended.set()

    running = asyncio.create_task(supervised(worker, Beats(), further=further))
    await asyncio.sleep(0)
    worker.stopped.set()
    await running
    assert ended.is_set()


async def test_a_further_task_that_dies_ends_the_process_and_is_named() -> None:
    async def further() -> None:
        raise KeyError("unforeseen")

    worker = Working()
    with capture_logs() as logged, pytest.raises(KeyError, match="unforeseen"):
        await supervised(worker, Beats(), further=further)
    assert worker.finished
    assert [(line["event"], line["task"]) for line in logged] == [("task_died", "further")]
