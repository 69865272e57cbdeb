"""Writes a worker's state to Redis at intervals, and brings the operator's orders back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from shared.errors import RedisUnavailable
from shared.health.registry import Forced, WorkerState

log = structlog.get_logger(__name__)


class Heartbeat:
    """Every ``every_s`` seconds, applies the operator's orders, then writes ``state()``.

    In that order, so that a beat shows the orders it obeys. ``apply`` gets provider name -> open|closed; a provider
    that is not named decides for itself.
    """

    def __init__(
        self,
        redis: WorkerState,
        every_s: float,
        state: Callable[[], dict[str, Any]],
        apply: Callable[[Mapping[str, Forced]], None],
    ) -> None:
        self._redis, self._every_s = redis, every_s
        self._state, self._apply = state, apply
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ask ``run`` to return.

        It is not cancelled: redis-py writes under ``asyncio.wait_for``, which swallows a cancellation that meets a
        write just done (Python 3.11), and the heartbeat of a worker that is to end would go on for ever.
        """
        self._stopped.set()

    async def run(self) -> None:
        """Beat until ``stop``; then remove the state, so that this worker is not counted any more.

        While Redis does not answer, it goes on. Raises every other error: the process ends with it (see
        ``shared.worker.run.supervise``).
        """
        silent = False
        while not self._stopped.is_set():
            try:
                self._apply(await self._redis.forced())
                await self._redis.beat(self._state())
                silent = False
            except RedisUnavailable as exc:
                if not silent:
                    log.warning("heartbeat_not_written", error=str(exc))
                silent = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._stopped.wait()
        try:
            await self._redis.remove()
        except RedisUnavailable as exc:
            log.info("heartbeat_left_to_expire", error=str(exc))
