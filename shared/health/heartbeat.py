"""Writes a worker's state to Redis at intervals, and applies the operator's orders from there."""

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
    """Applies the operator's orders and then writes ``state()``, every ``every_s`` seconds.

    This order makes each heartbeat show the orders already applied. ``apply`` gets provider name -> open|closed; the
    breaker of a provider that is not named decides by itself.
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
        """Asks ``run`` to return.

        ``run`` is not cancelled, because redis-py writes under ``asyncio.wait_for``, which in Python 3.11 swallows a
        cancellation that arrives just as a write is done. The heartbeat of a stopping worker would then never end.
        """
        self._stopped.set()

    async def run(self) -> None:
        """Writes heartbeats until ``stop``, then removes the state, so that this worker no longer counts as alive.

        It continues while Redis does not answer. Any other error is raised and ends the process (see
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
