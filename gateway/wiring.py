"""Everything that the gateway's routes need, built and connected in one place."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.accept.accepted import AcceptedRecords
from gateway.accept.acceptor import Acceptor
from gateway.accept.intake import Intake
from gateway.accept.probe_gate import ProbeGate
from gateway.health.counts import AcceptedCounts
from gateway.health.report import Health
from gateway.health.workers import RedisStore
from shared.broker.publisher import Publisher
from shared.broker.queue_depth import Sampler
from shared.broker.threaded import ThreadedPublisher
from shared.redis.batch import Batcher
from shared.redis.client import sync_client
from shared.settings.settings import Settings
from shared.worker.collector import calm_collector

#: requests that may wait for the broker at once, a process; beyond it 503
MAX_WAITING = 128
FAILED_EXIT = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Tests make their own."""

    acceptor: Acceptor
    health: Health
    counts: AcceptedCounts


def connect(settings: Settings, counts_directory: Path | None = None) -> Parts:
    """The real ones. Starts the publisher's thread: call it after fork. Processes of one gateway share a directory."""
    gate = ProbeGate(time.monotonic, max_waiting=MAX_WAITING)
    records = AcceptedRecords(
        Batcher(settings.redis), settings.accepted_ttl_s, ProbeGate(time.monotonic, max_waiting=MAX_WAITING)
    )
    intake = Intake(records, gate, settings.publish_deadline_s)
    sampler = Sampler()
    publisher = ThreadedPublisher(
        settings,
        "gateway",
        beside=[intake.run, lambda publisher: sampler.run(publisher.connection), _stop_on_mismatch],
    )
    publisher.start()
    counts = AcceptedCounts(counts_directory or Path(tempfile.mkdtemp(prefix="notify-gateway-")))
    acceptor = Acceptor(intake, sampler, counts, queue_max_ready=settings.queue_max_ready, clock=time.monotonic)
    store = RedisStore(sync_client(settings.redis), settings.heartbeat_s)
    calm_collector()
    return Parts(acceptor, Health(lambda: publisher.state, lambda: gate.silent, sampler, store), counts)


async def _stop_on_mismatch(publisher: Publisher) -> None:
    """End this process if a queue exists with other arguments: waiting cannot help, and a human must look."""
    error = await publisher.connection.wait_failed()
    log.error("gateway_stopped", error=str(error))
    # From this thread sys.exit would end the thread alone.
    os._exit(FAILED_EXIT)
