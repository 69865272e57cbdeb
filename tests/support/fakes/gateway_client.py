"""Builds the gateway's app over stand-ins for the broker, Redis and the server; the rest is the product's own."""

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
from gateway.health.workers import RedisReader, RedisView, WorkerView
from gateway.wiring import Parts
from shared.message.channels import CHANNELS
from shared.settings.load import load_settings
from tests.support.fakes.gateway import FakeBroker, FakeDepths, FakeRecords, running


class FakeRedis(RedisReader):
    def __init__(self) -> None:
        """Skips the set-up of the real reader, which needs Redis."""

    def read(self) -> RedisView:
        return RedisView({name: [WorkerView(False, {"one": "closed"})] for name in CHANNELS}, 0.0)


class Gateway:
    """Holds the app and its stand-ins. ``broker_state`` is the state that the publisher reports."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.broker, self.records, self.depths = FakeBroker(), FakeRecords(), FakeDepths()
        self.broker_state: BrokerState = "up"
        gate = Gate(self.depths, queue_max_ready=10, max_waiting=100)
        counts = AcceptedCounts()
        self.acceptor = Acceptor(self.records, gate, counts, publish_deadline_s=5)
        health = Health(lambda: self.broker_state, lambda: gate.silent, self.depths, FakeRedis())
        self.app: Flask = create_app(load_settings(env_file=None, **settings), Parts(self.acceptor, health, counts))

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()


@contextmanager
def gateway(directory: Path, **settings: Any) -> Iterator[Gateway]:
    made = Gateway(directory, **settings)
    with running(made.acceptor, made.broker):
        yield made
