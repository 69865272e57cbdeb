"""Runs the relay until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack

import structlog

from services.relay.relay import Relay, health_of
from services.relay.relay_metrics import RelayMetrics
from shared.broker.publisher import Publisher
from shared.errors import BadSettings
from shared.health.server import WorkerHttp
from shared.logs import count_lost_lines
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.store.outbox import Bell, Outbox
from shared.worker.run import PORTS_BETWEEN_REPLICAS, run_process

log = structlog.get_logger(__name__)


async def main(settings: Settings) -> None:
    """Builds the relay and runs it. Raises BadSettings, TopologyMismatch, or the error of a task that died."""
    url = settings.outbox.url
    if url is None:
        raise BadSettings([("OUTBOX_URL", "is not set: there is no outbox to read")])
    metrics = Metrics()
    count_lost_lines(metrics.log_lines_lost.inc)
    async with AsyncExitStack() as stack:
        publisher = Publisher(
            settings.broker.url,
            f"relay@{socket.gethostname()}:{os.getpid()}",
            levels_s=settings.broker.retry_levels_s,
            deadline_s=settings.broker.publish_deadline_s,
            max_pending=settings.broker.publish_max_pending,
            metrics=metrics,
        )
        publisher.start()
        stack.push_async_callback(publisher.close)
        relay = Relay(
            Outbox(url),
            Bell(url),
            publisher,
            RelayMetrics(metrics.registry),
            wake=settings.outbox.wake,
            client=settings.outbox.client,
            phone_region=settings.recipients.phone_region,
        )
        await relay.check()
        port = settings.outbox.port + PORTS_BETWEEN_REPLICAS * settings.worker.replica
        http = WorkerHttp(settings.worker_listen_host, port, "RELAY_PORT", lambda: health_of(relay, publisher), metrics)
        await http.start()
        stack.push_async_callback(http.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, relay.stop)
        log.info("relay_started", wake=settings.outbox.wake)
        await _run(relay, publisher)
        log.info("relay_stopped")


async def _run(relay: Relay, publisher: Publisher) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            connection = group.create_task(publisher.connection.watch())
            await relay.run()
            connection.cancel()
    except ExceptionGroup as died:
        raise died.exceptions[0] from None


if __name__ == "__main__":
    run_process("relay", main)
