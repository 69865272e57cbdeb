"""Checks the gateway against its own OpenAPI document: schemathesis sends what it allows, and what it forbids.

The gateway is a real process with real servers; the requests are the same in every run. Every answer must have a
documented status, media type, headers and body. Requests that the document forbids must be refused, those that it
allows accepted. An operation that needs a key must refuse a caller without one. A method that does not exist must be
answered 405 with the methods that do.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from gateway.api.resources import RESOURCES
from gateway.openapi import openapi_document
from ops.servers import RabbitMQServer, RedisServer
from shared.store.store import Store
from tests.properties.http_api_checks import CHECKS, EXPECTED_STATUSES
from tests.support.failed_messages import dead_letter, failed
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.publishing import publishing
from tests.support.run.examples import examples
from tests.support.stores import Databases, new

Directories = pytest.TempPathFactory
Gateways = Iterator[GatewayProcess]

KEY = "a-key-for-this-test"
ANSWER_WITHIN_S = 15.0
#: messages for the operations that list, resend and discard
FAILED_MESSAGES = 20
_CONFIG: dict[str, Any] = {
    "seed": 1,
    "generation": {"deterministic": True, "max-examples": examples(9), "database": "none"},
    # 413 is a refusal, too.
    "checks": {
        "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "405", "413", "415", "422"]}
    },
    "operations": [
        *EXPECTED_STATUSES,
        {"include-name": "POST /notifications", "generation": {"max-examples": examples(60)}},
    ],
}


def _api(*, keys_needed: bool) -> schemathesis.BaseSchema:
    config = SchemathesisConfig.from_dict(_CONFIG)
    return schemathesis.openapi.from_dict(openapi_document(RESOURCES, keys_needed=keys_needed), config=config)


_OPEN, _GUARDED = _api(keys_needed=False), _api(keys_needed=True)


@pytest.fixture(autouse=True)
def no_collection_in_the_middle() -> Iterator[None]:
    """Collects no garbage during a test: Hypothesis reads the sources of strategies with ``ast.parse``.

    CPython 3.11 raises SystemError (``AST constructor recursion depth mismatch``) if a collection ends something that
    reads a source, too, at that moment: https://github.com/python/cpython/issues/106905
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture(scope="module")
def vhost_for_all(rabbitmq: RabbitMQServer) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq.management.create_vhost(name)
    asyncio.run(_fill_failed_queue(rabbitmq.vhost_url(name)))
    yield rabbitmq.vhost_url(name)
    rabbitmq.management.delete_vhost(name)


async def _fill_failed_queue(url: str) -> None:
    async with publishing(url) as publisher:
        await dead_letter(publisher, [failed(f"failed-{n}") for n in range(FAILED_MESSAGES)])


@contextmanager
def _sockets(databases: Databases, backend: str) -> Iterator[dict[str, Any]]:
    """Yields the settings that the routes of inboxes and tokens need; the database has a few notifications."""
    with databases.empty(backend) as url:
        store = Store(url)
        store.insert([new(user_id, f"r{number}") for user_id in ("0", "1", "u1") for number in range(20)])
        store.close()
        yield {"DATABASE_URL": url, "SOCKET_TOKEN_KEYS": f"k1:{'s' * 32}"}


@pytest.fixture(scope="module")
def open_gateway(
    vhost_for_all: str, redis_server: RedisServer, tmp_path_factory: Directories, databases: Databases
) -> Gateways:
    """Yields a gateway that asks no caller for a key, and keeps the inboxes in SQLite."""
    directory = tmp_path_factory.mktemp("open")
    with (
        _sockets(databases, "sqlite") as settings,
        gateway_process(directory, vhost_for_all, redis_server.url, **settings) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def guarded_gateway(
    vhost_for_all: str, redis_server: RedisServer, tmp_path_factory: Directories, databases: Databases
) -> Gateways:
    """Yields a gateway that knows only ``KEY``, and keeps the inboxes in PostgreSQL."""
    directory = tmp_path_factory.mktemp("guarded")
    keys = f"test:send+operate+tokens:{hashlib.sha256(KEY.encode()).hexdigest()}"
    with (
        _sockets(databases, "postgresql") as settings,
        gateway_process(directory, vhost_for_all, redis_server.url, API_KEYS=keys, **settings) as made,
    ):
        yield made


@_OPEN.parametrize()
def test_without_keys_every_answer_is_as_documented(case: schemathesis.Case[Any], open_gateway: GatewayProcess) -> None:
    case.call_and_validate(base_url=open_gateway.url, additional_checks=CHECKS, timeout=ANSWER_WITHIN_S)


@_GUARDED.parametrize()
def test_with_keys_every_answer_is_as_documented(case: schemathesis.Case[Any], guarded_gateway: GatewayProcess) -> None:
    key = {"Authorization": f"Bearer {KEY}"}
    case.call_and_validate(base_url=guarded_gateway.url, headers=key, additional_checks=CHECKS, timeout=ANSWER_WITHIN_S)
