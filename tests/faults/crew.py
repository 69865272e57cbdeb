"""Worker processes under a test's control: killed, brought back at once, and counted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ops.servers import free_ports
from shared.broker.publisher import Publisher
from shared.settings import Settings
from tests.integration.workbench import Bench, quick_settings
from tests.waiting import eventually_async

#: a worker that dies so often in one test is not going to get better
MOST_DEATHS = 200


def worker_environment(settings: Settings, provider_port: int, **more: str) -> dict[str, str]:
    """What a worker process needs to find the same servers, scaled like ``settings``."""
    return {
        **os.environ,
        "RABBITMQ_URL": settings.rabbitmq,
        "REDIS_URL": settings.redis,
        "PUSH_PROVIDERS": f"fcm://127.0.0.1:{provider_port}/crash?tls=0&timeout=0.4",
        "RETRY_LEVELS_S": ",".join(map(str, settings.retry_levels_s)),
        "RETRY_BASE_S": str(settings.retry_base_s),
        "RETRY_MIN_S": str(settings.retry_min_s),
        "LEASE_S": str(settings.lease_s),
        "HANDLING_BUDGET_S": str(settings.handling_budget_s),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        **more,
    }


@dataclass
class Crew:
    """Processes of ``tests.faults.crashing_worker``; each that dies is replaced at once, without a point of death."""

    environment: dict[str, str]
    directory: Path
    point: str = "none"
    nth: int = 0
    stubborn: bool = False  # a replacement has the same point of death
    deaths: int = 0
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    def counted(self) -> Counter[str]:
        """What all workers, dead and alive, have counted."""
        return Counter(self.journal.read_text().split()) if self.journal.exists() else Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Whatever a failed test has left is killed."""
        self._stopping = True
        for slot in range(len(self.processes)):
            self.kill(slot)
        await asyncio.gather(*self._keepers)

    def start(self, count: int) -> None:
        self.ports = free_ports(count)
        self.processes = [None] * count  # type: ignore[list-item]
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(count)]

    def kill(self, slot: int) -> None:
        """SIGKILL the process in this slot now."""
        process = self.processes[slot]
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGKILL)

    async def died(self, times: int) -> None:
        """Wait until so many deaths have been seen."""
        await eventually_async(lambda: self.deaths >= times)

    async def stop(self) -> list[int]:
        """SIGTERM all, once each is past its own start; their exit codes."""
        await eventually_async(self._all_listen, deadline_s=20)
        self._stopping = True
        for process in self.processes:
            if process is not None and process.returncode is None:
                process.terminate()
        await asyncio.gather(*self._keepers)
        return [process.returncode or 0 for process in self.processes]

    def _all_listen(self) -> bool:
        for port in self.ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True

    async def _keep(self, slot: int) -> None:
        point, nth = self.point, self.nth
        port = self.ports[slot]
        while not self._stopping and self.deaths < MOST_DEATHS:
            with (self.directory / f"worker-{slot}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.faults.crashing_worker", point, str(nth), str(self.journal),
                    env=self.environment | {"PUSH_PORT": str(port)}, stdout=log, stderr=log,
                )  # fmt: skip
            self.processes[slot] = process
            await process.wait()
            if not self._stopping:
                self.deaths += 1
                if not self.stubborn:
                    point, nth = "none", 0


@asynccontextmanager
async def publishing(amqp_url: str, redis_url: str, **overrides: object) -> AsyncIterator[Bench]:
    """A bench that publishes and looks into queues; its workers are processes of a Crew."""
    settings = quick_settings(amqp_url, redis_url, **overrides)
    publisher = Publisher(
        settings.rabbitmq, "crash test", levels_s=settings.retry_levels_s, deadline_s=5, max_pending=5000
    )
    publisher.start()
    await publisher.connection.wait_up()
    try:
        yield Bench("push", settings, None, None, publisher, None)  # type: ignore[arg-type]
    finally:
        await publisher.close()
