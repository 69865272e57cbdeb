"""The publisher for threaded programs: its loop runs in one thread, callers block in theirs.

Start it after fork: a connection made before would be shared by two processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import uvloop

from shared.broker.connection import State
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishFailed, PublishUnknown
from shared.settings.settings import Settings

#: how much longer than the publish deadline a caller waits for the loop's own answer, seconds
GRACE_S = 0.5


class ThreadedPublisher:
    """``beside`` is started in the publisher's loop with it (the depth sampler) and cancelled by ``stop``."""

    def __init__(
        self, settings: Settings, name: str, beside: Sequence[Callable[[Publisher], Awaitable[None]]] = ()
    ) -> None:
        self._settings, self._name, self._beside = settings, name, tuple(beside)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publisher: Publisher | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> State:
        return self._publisher.state if self._publisher else "down"

    def start(self) -> None:
        """Start the thread and begin to connect; returns once the loop runs."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="publisher", daemon=True)
        self._thread.start()
        started.wait()

    def publish(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]:
        """Publish pipelined and wait: one entry a publication, None once confirmed. Callable from any thread."""
        if self._loop is None or self._publisher is None:
            raise RuntimeError("start() first")
        within_s = deadline_s or self._settings.broker.publish_deadline_s
        answer: Future[list[PublishFailed | None]] = asyncio.run_coroutine_threadsafe(
            self._publisher.publish_all(publications, within_s), self._loop
        )
        try:
            return answer.result(within_s + GRACE_S)
        except FutureTimeout:
            answer.cancel()
            return [PublishUnknown("the publisher did not answer within the deadline") for _ in publications]

    def stop(self) -> None:
        """Close the connection and end the thread."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop_event.set)
            self._thread.join(timeout=10)

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_event = asyncio.Event()
        settings = self._settings
        self._publisher = Publisher(
            settings.broker.url,
            self._name,
            levels_s=settings.broker.retry_levels_s,
            deadline_s=settings.broker.publish_deadline_s,
            max_pending=settings.broker.publish_max_pending,
        )
        self._publisher.start()
        beside: list[asyncio.Task[Any]] = [asyncio.ensure_future(start(self._publisher)) for start in self._beside]
        started.set()
        await self._stop_event.wait()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await self._publisher.close()
