"""Everything that the gateway's routes need, built and connected in one place."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.accepted import AcceptedRecords
from gateway.acceptor import Acceptor
from gateway.counts import AcceptedCounts
from gateway.health import Health
from gateway.probe_gate import ProbeGate
from gateway.store import RedisStore
from shared.broker.publisher import Publisher
from shared.broker.sampler import Sampler
from shared.broker.threaded import ThreadedPublisher
from shared.settings import Settings

#: requests that may wait for the broker at once, a process; beyond it 503
MAX_WAITING = 128
#: longest wait for Redis, for the connection and for each answer, seconds
REDIS_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """Tests make their own."""

    acceptor: Acceptor
    health: Health
    counts: AcceptedCounts


def connect(settings: Settings, counts_directory: Path | None = None) -> Parts:
    """The real ones. Starts the publisher's thread: call it after fork. Processes of one gateway share a directory."""
    sampler = Sampler()

    async def sample(publisher: Publisher) -> None:
        await sampler.run(publisher.connection)

    publisher = ThreadedPublisher(settings, "gateway", beside=[sample])
    publisher.start()
    redis = _redis(settings)
    gate = ProbeGate(time.monotonic, max_waiting=MAX_WAITING)
    counts = AcceptedCounts(counts_directory or Path(tempfile.mkdtemp(prefix="notify-gateway-")))
    acceptor = Acceptor(
        publisher,
        AcceptedRecords(redis, settings.accepted_ttl_s, ProbeGate(time.monotonic, max_waiting=MAX_WAITING)),
        sampler,
        counts,
        gate,
        publish_deadline_s=settings.publish_deadline_s,
        queue_max_ready=settings.queue_max_ready,
        clock=time.monotonic,
    )
    health = Health(lambda: publisher.state, lambda: gate.shut, sampler, RedisStore(redis))
    return Parts(acceptor, health, counts)


def _redis(settings: Settings) -> Redis:
    # By default this client tries again by itself: a refused connection took 4.5 s a command.
    return Redis.from_url(
        settings.redis,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
