"""Tests that today's code reads what every version has written: messages, records, failed messages, heartbeats."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.health.workers import RedisReader
from ops.breaker.survey import survey
from shared.broker.topology import FAILED_QUEUE
from shared.failed.entry import read_entry
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_listing, parse_replay
from shared.health.registry import forced_breakers
from shared.idempotency.claims import Claims
from shared.idempotency.redis_clock import RedisClock
from shared.message.headers import read_state
from tests.faults.ledger import wire
from tests.support.failed_messages import dead_letter
from tests.support.gateway_process import gateway_process, keys_of
from tests.support.publishing import publishing
from tests.support.run.moved_clock import time_ns_from
from tests.support.waiting import eventually_async
from tests.support.workbench import Bench, ScriptedProvider, quick_settings, running

#: So long that a heartbeat of any age counts, seconds.
ALWAYS_S = 1e9
_VERSIONS = pytest.mark.parametrize("version", wire.versions())


def _put(redis_client: redis.Redis, command: Sequence[str]) -> None:
    redis_client.execute_command(*command)  # type: ignore[no-untyped-call]


@_VERSIONS
def test_headers_mean_what_they_meant(version: str) -> None:
    for message in wire.messages(version):
        assert read_state(message.headers) == message.state, message.id


@_VERSIONS
@pytest.mark.parametrize("channel", ["push", "email", "sms"])
async def test_every_message_comes_to_its_end(
    version: str,
    channel: str,
    vhost_url: str,
    redis_url: str,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time_ns", time_ns_from(wire.read_at_ms(version)))
    # The Redis server of the tests has today's date.
    monkeypatch.setattr(RedisClock, "heard", lambda *_: None)
    messages = [message for message in wire.messages(version) if message.lane.channel == channel]
    for command in wire.commands(version):
        _put(redis_client, command)
    provider = ScriptedProvider()
    async with running(quick_settings(vhost_url, redis_url), [provider], channel) as bench:
        assert set(await bench.publisher.publish_all([message.publication for message in messages])) == {None}
        delivered = Counter({m.id: len(m.due) for m in messages if m.due})
        dropped = sum(message.end == wire.DROPPED for message in messages)
        await eventually_async(lambda: len(provider.accepted) >= delivered.total())
        await eventually_async(lambda: bench.count("notify_duplicates_total", channel=channel) >= dropped)
        expected = sorted((m.id, m.end) for m in messages if m.end.startswith(wire.FAILED))
        await eventually_async(lambda: _has(bench, len(expected)))
        assert Counter(provider.calls) == delivered
        assert sorted(provider.targets) == sorted(target for m in messages for target in m.due)
        assert sorted(_end(headers, body) for headers, body in await bench.failed()) == expected


async def _has(bench: Bench, failed: int) -> bool:
    return await bench.ready(FAILED_QUEUE) >= failed


def _end(headers: dict[str, Any], body: bytes) -> tuple[str, str]:
    # Even the body that cannot be decoded begins with its request_id.
    return body.decode().split('"request_id":"')[1].split('"')[0], wire.FAILED + headers["notify-failed-reason"]


def _claims_over() -> Iterator[Any]:
    for version in wire.versions():
        document = wire.golden(version, "claims")
        for row in document["records"]:
            for claim in row["claims"]:
                name = f"{version}: {row['says']}: {claim['replay']}, {claim['attempt']}: {claim['verdict']}"
                yield pytest.param(document, row["record"], claim, id=name)


@pytest.mark.parametrize(("document", "record", "claim"), list(_claims_over()))
async def test_claims_are_judged_by_the_records_of_every_version(
    document: dict[str, Any], record: str, claim: dict[str, Any], claims: Claims, redis_client: redis.Redis
) -> None:
    redis_client.set(document["key"], record)
    answer = await claims.claim(
        "push", document["request_id"], claim["token"], claim["replay"], claim["attempt"], claim["hash"], False
    )
    assert answer.verdict == claim["verdict"]


@_VERSIONS
async def test_targets_served_by_an_earlier_version_are_known(
    version: str, claims: Claims, redis_client: redis.Redis
) -> None:
    document = wire.golden(version, "claims")
    served = document["tokens"]
    redis_client.hset(served["key"], mapping=served["record"])
    assert await claims.served_tokens(document["request_id"]) == set(served["record"])


@_VERSIONS
async def test_failed_messages_are_listed_and_sent_again(
    version: str, vhost_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", time_ns_from(wire.read_at_ms(version)))
    # The Redis server of the tests has today's date.
    monkeypatch.setattr(RedisClock, "heard", lambda *_: None)
    failures = wire.failures(version)
    settings = quick_settings(vhost_url, redis_url)
    async with publishing(vhost_url) as publisher:
        await dead_letter(publisher, [failure.publication for failure in failures])
    queue = FailedQueue(settings)
    listed = (await queue.list(parse_listing({}))).model_dump()["items"]
    assert sorted(listed, key=_id) == sorted((failure.listed for failure in failures), key=_id)
    done = await queue.replay(parse_replay({"all": True}), operator="test")
    skipped = {each.id: each.reason for each in done.skipped}
    assert skipped == {each.listed["id"]: each.replay for each in failures if each.replay != "sent"}
    provider = ScriptedProvider()
    async with running(settings, [provider]):
        sent = sorted(failure.id for failure in failures if failure.replay == "sent")
        await eventually_async(lambda: sorted(provider.accepted) == sent)


def _id(item: dict[str, Any]) -> str:
    return str(item["id"])


@_VERSIONS
def test_a_replay_is_above_every_earlier_life(version: str) -> None:
    for failure in wire.failures(version):
        entry = read_entry(failure.publication.body, failure.publication.headers, failure.publication.routing_key)
        assert entry.state.replay == failure.publication.headers["notify-replay"], failure.id


@_VERSIONS
def test_the_gateway_answers_what_an_earlier_version_accepted(
    version: str, tmp_path: Path, vhost_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    document = wire.golden(version, "gateway")
    _put(redis_client, document["record"])
    settings, key = keys_of(document)
    with gateway_process(tmp_path, vhost_url, redis_url, **settings) as gateway:
        repeated = gateway.post(document["posted"], headers=key)
        assert (repeated.status_code, repeated.json()) == (202, document["answer"])
        assert repeated.headers["Idempotent-Replayed"] == "true"
        assert gateway.post(document["another"], headers=key).status_code == 422


@_VERSIONS
def test_workers_and_forced_breakers_of_every_version_are_read(version: str, redis_client: redis.Redis) -> None:
    document = wire.golden(version, "workers")
    _put(redis_client, document["beat"])
    _put(redis_client, document["forced"])
    seen = document["seen"]
    (view,) = RedisReader(redis_client, ALWAYS_S).read().workers["push"]
    assert (view.paused, view.breakers) == (seen["paused"], seen["breakers"])
    (worker,) = survey(redis_client, ALWAYS_S).workers["push"]
    assert (worker.breakers, worker.obeys) == (seen["breakers"], seen["obeys"])
    assert forced_breakers(redis_client) == {(channel, name): how for channel, name, how in document["means"]}
    assert json.loads(document["beat"][3])["forced"] == seen["obeys"]
