"""Tests that today's code writes the forms under ``tests/fixtures/wire``: of version 2 for a message with a client, of
version 1 for one without.

If a test fails here, the form has changed: add a folder with the new form beside the existing ones, and leave those
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from shared.broker.topology import retry_queue
from shared.clock import now_ms, rfc3339
from shared.errors import Refusal, Refused, Unavailable
from shared.failed.entry import read_entry
from shared.failed.replay import replay_of
from shared.health.registry import WorkerState, force_breaker
from shared.idempotency.claims import Claims
from shared.message.channels import Lane
from shared.message.headers import DeliveryState
from shared.redis.client import async_client
from shared.worker.status import Status
from tests.faults.ledger import wire
from tests.support.failed_messages import only_from, publish_expiring
from tests.support.gateway_process import gateway_process, keys_of, taken
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async
from tests.support.workbench import Bench, ScriptedProvider, quick_settings, running

#: (version, client)
FORMS = [("1", ""), ("2", "shop")]
_FORMS = pytest.mark.parametrize(("version", "client"), FORMS)
#: The ladder's only level, seconds: so long that a message stays there during the test.
LEVEL_S = 3600.0

#: Name in the files of an earlier version -> today's name of the same call.
_TODAYS_NAME = {"handed_on": "forwarded"}


def form(value: Any) -> Any:
    """Returns the names and types of all parts; a time is distinguished from other texts."""
    if isinstance(value, Mapping):
        return {name: form(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [form(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
        return "time"
    # pika has its own integer type for a long on the wire.
    return "int" if isinstance(value, int) and not isinstance(value, bool) else type(value).__name__


def golden_headers(version: str, message_id: str) -> Any:
    found = [m.headers for m in wire.messages(version) if m.id == f"wire{version}-{message_id}"]
    found += [f.publication.headers for f in wire.failures(version) if f.id == f"wire{version}-{message_id}"]
    return form(found[0])


def from_client(client: str) -> dict[str, Any]:
    return DeliveryState(accepted_at=rfc3339(now_ms()), client=client).to_headers()


def test_the_newest_form_is_written() -> None:
    assert [version for version, _ in FORMS] == wire.versions()


@_FORMS
def test_the_gateways_message_and_record(
    version: str, client: str, tmp_path: Path, vhost_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    document = wire.golden(version, "gateway")
    published, (_, key, digest) = document["published"], document["record"]
    settings, api_key = keys_of(document)
    assert document.get("client", "") == client
    with gateway_process(tmp_path, vhost_url, redis_url, **settings) as gateway:
        assert gateway.post(document["posted"], headers=api_key).status_code == 202
    assert {name: redis_client.get(name) for name in redis_client.keys()} == {key.encode(): digest.encode()}  # noqa: SIM118
    ((properties, body),) = taken(vhost_url, published["queue"])
    assert body.decode() == published["body"]
    # The broker adds this header to every message that comes from a quorum queue.
    headers = {name: value for name, value in (properties.headers or {}).items() if name != "x-delivery-count"}
    assert form(headers) == form(published["headers"])
    for name in ("content_type", "delivery_mode", "correlation_id"):
        assert getattr(properties, name) == published[name]
    assert properties.message_id
    assert (properties.expiration, properties.user_id, properties.timestamp) == (None, None, None)


@pytest.mark.parametrize(
    ("version", "row"),
    [
        (version, row)
        for version in wire.versions()
        for row in wire.golden(version, "claims")["records"]
        if row["written_by"]
    ],
)
async def test_the_record_of_every_transition(
    version: str, row: dict[str, Any], claims: Claims, redis_client: redis.Redis
) -> None:
    document = wire.golden(version, "claims")
    for transition, *arguments in row["written_by"]:
        more = [False] if transition == "claim" else []
        await getattr(claims, _TODAYS_NAME.get(transition, transition))(
            "push", document["request_id"], *arguments, *more
        )
    written = redis_client.get(document["key"])
    assert isinstance(written, bytes)
    # The end of a lease differs at each run.
    assert re.sub(r"(?<=:)\d{13}(?=:\d+:\d+:\w{16}$)", "9000000000000", written.decode()) == row["record"]


@_FORMS
async def test_the_record_of_targets_served(
    version: str, client: str, claims: Claims, redis_client: redis.Redis
) -> None:
    document = wire.golden(version, "claims")
    assert document["request_id"].startswith(f"@{client}:" if client else "wire:")
    served = document["tokens"]
    for digest in served["record"]:
        await claims.mark_token(document["request_id"], digest)
    assert redis_client.hgetall(served["key"]) == {
        name.encode(): value.encode() for name, value in served["record"].items()
    }


@_FORMS
async def test_a_copy_on_the_ladder(version: str, client: str, vhost_url: str, redis_url: str) -> None:
    settings = quick_settings(vhost_url, redis_url, retry_levels_s=(LEVEL_S,))
    provider = ScriptedProvider(error=lambda: Unavailable("fcm 503 UNAVAILABLE"))
    async with running(settings, [provider]) as bench:
        await bench.put("on-the-ladder", headers=from_client(client))
        headers = await _one_from(bench, retry_queue(Lane("push", "medium"), LEVEL_S))
    assert form(headers) == golden_headers(version, "ladder")


@_FORMS
async def test_an_entry_of_failed_queue(version: str, client: str, vhost_url: str, redis_url: str) -> None:
    provider = ScriptedProvider(error=lambda: Refused(Refusal.PAYLOAD_REJECTED, "fcm 400 INVALID_ARGUMENT"))
    async with running(quick_settings(vhost_url, redis_url), [provider]) as bench:
        await bench.put("failed", headers=from_client(client))
        headers = await _one_from(bench, "failed.queue")
        assert form(headers) == golden_headers(version, "failed")
        await bench.put("undecodable", body=b"{", headers=from_client(client))
        assert form(await _one_from(bench, "failed.queue")) == golden_headers(version, "failed-undecodable")


async def test_a_message_that_the_broker_dead_lettered(vhost_url: str) -> None:
    async with publishing(vhost_url) as publisher:
        channel = await publisher.connection.channel()
        publish_expiring(channel, "push", b"{}", within_ms=1)
        _, properties, _ = await only_from(channel, "failed.queue")
    (golden,) = (f for f in wire.failures(wire.versions()[-1]) if f.listed["reason"] == "expired")
    expected = {name: value for name, value in golden.publication.headers.items() if name.startswith("x-")}
    # Only a message that had an expiration has this field.
    properties.headers["x-death"][0].pop("original-expiration")
    assert form(properties.headers) == form(expected)


@_FORMS
def test_what_a_replay_publishes(version: str, client: str) -> None:
    golden = wire.failures(version)[0]
    assert golden.publication.headers.get("notify-client", "") == client
    failed = golden.publication
    entry = read_entry(failed.body, failed.headers, failed.routing_key)
    again = replay_of(failed.body, entry, ignore_expiry=True, now_ms=now_ms())
    assert form(again.headers) == golden_headers(version, "replayed")
    assert (again.body, again.correlation_id) == (failed.body, golden.id)


async def test_a_workers_heartbeat_and_a_forced_breaker(
    vhost_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    document = wire.golden(wire.versions()[-1], "workers")
    _, key, instance, golden = document["beat"]
    async with (
        running(quick_settings(vhost_url, redis_url), [ScriptedProvider()]) as bench,
        async_client(redis_url) as client,
    ):
        await eventually_async(lambda: bench.worker.broker_up)
        status = Status("push", bench.worker, bench.providers, bench.publisher)
        status.apply({"fcm": "open"})
        await WorkerState(client, "push", instance, 60).beat(status.beat())
        written = redis_client.hgetall(key)
        status.apply({})
    assert list(written) == [instance.encode()]
    expected = orjson.loads(golden)
    expected["providers"].pop("backup")
    # Later versions report more; an older reader ignores it.
    expected |= {"forwards": 0, "oldest_forward_s": 0.0}
    assert form(orjson.loads(written[instance.encode()])) == form(expected)

    for channel, provider, how in document["means"]:
        force_breaker(redis_client, channel, provider, how)
    name, *pairs = document["forced"][1:]
    assert redis_client.hgetall(name) == {
        field.encode(): how.encode() for field, how in zip(pairs[::2], pairs[1::2], strict=True)
    }


async def _one_from(bench: Bench, queue: str) -> dict[str, Any]:
    """Waits for a message in the queue and returns its headers without the broker's own count."""
    channel = await bench.publisher.connection.channel()
    _, properties, _ = await only_from(channel, queue)
    await channel.close()
    return dict(properties.headers)
