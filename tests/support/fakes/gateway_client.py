"""Builds the gateway's app over stand-ins for the broker, the workers and the server; the rest is the product's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from gateway.accept.acceptor import Acceptor
from gateway.accept.gate import Gate
from gateway.app import create_app
from gateway.health.counts import AcceptedCounts
from gateway.health.report import BrokerState, Health
from gateway.health.store import StoreProbe
from gateway.health.workers import RedisReader, RedisView, WorkerView
from gateway.wiring import Parts
from shared.message.channels import CHANNELS
from shared.realtime.tokens import Tokens
from shared.realtime.wakeup import ThreadedWakeUps
from shared.redis.client import sync_client
from shared.settings.load import load_settings
from shared.store.store import Store
from tests.support.fakes.gateway import FakeBroker, FakeDepths, FakeRecords, running


class FakeRedis(RedisReader):
    def __init__(self) -> None:
        """Skips the set-up of the real reader, which needs Redis."""

    def read(self) -> RedisView:
        return RedisView({name: [WorkerView(False, {"one": "closed"})] for name in CHANNELS}, 0.0)


class FakeProbe(StoreProbe):
    def __init__(self) -> None:
        self.up = True

    def is_up(self) -> bool:
        return self.up


class Gateway:
    """Holds the app and its stand-ins. ``broker_state`` is the state that the publisher reports.

    There is no Redis unless ``redis_url`` names one, and the store has no tables unless ``database_url`` is that of a
    database that has them.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        settings = {
            "database_url": f"sqlite:///{directory}/without-tables.db",
            "redis_url": "redis://127.0.0.1:1/0",
            **settings,
        }
        made = load_settings(env_file=None, **settings)
        self.store, self.redis = Store(made.database.url), sync_client(made.redis.url)
        self.tokens, self.probe = Tokens(made.sockets.token_keys), FakeProbe()
        self.broker, self.records, self.depths = FakeBroker(), FakeRecords(), FakeDepths()
        self.broker_state: BrokerState = "up"
        gate = Gate(self.depths, queue_max_ready=10, max_waiting=100)
        counts = AcceptedCounts()
        self.acceptor = Acceptor(self.records, gate, counts, publish_deadline_s=5)
        health = Health(lambda: self.broker_state, lambda: gate.silent, self.depths, FakeRedis(), self.probe)
        wakeups = ThreadedWakeUps(self.redis, counts.wakeups_failed)
        parts = Parts(self.acceptor, health, counts, self.store, self.redis, wakeups, self.tokens)
        self.app: Flask = create_app(made, parts)

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()


@contextmanager
def gateway(directory: Path, **settings: Any) -> Iterator[Gateway]:
    made = Gateway(directory, **settings)
    try:
        with running(made.acceptor, made.broker):
            yield made
    finally:
        made.store.close()
        made.redis.close()
