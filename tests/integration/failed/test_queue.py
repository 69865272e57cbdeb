"""Tests failed.queue with a real broker: reading changes nothing, and only confirmed or discarded messages go."""

from __future__ import annotations

import asyncio
import signal
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import pika.data
import pytest

from ops.servers import RabbitMQServer
from shared.broker import topology
from shared.broker.channel import AmqpChannel
from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms, parse_rfc3339
from shared.errors import BrokerUnavailable, Locked
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_discard, parse_listing, parse_replay
from shared.failed.session import failed_operation
from shared.message.channels import CHANNELS, Lane, lanes_of
from shared.message.headers import DeliveryState, read_state
from shared.message.outcome import DeadReason
from tests.support.failed_messages import (
    RawHeader,
    count,
    dead_letter,
    failed,
    failed_before,
    publish_expiring,
    push_body,
    settings_for,
    take_all,
)
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

EVERYTHING = parse_listing({"limit": 1000})


@pytest.fixture
async def publisher(vhost_url: str) -> AsyncIterator[Publisher]:
    async with publishing(vhost_url) as publisher:
        yield publisher


@pytest.fixture
async def channel(publisher: Publisher) -> AmqpChannel:
    return await publisher.connection.channel()


@pytest.fixture
def queue(vhost_url: str) -> FailedQueue:
    return FailedQueue(settings_for(vhost_url))


async def test_a_mixed_queue_is_listed_whole_and_oldest_first(publisher: Publisher, queue: FailedQueue) -> None:
    reasons: tuple[DeadReason, ...] = ("attempts_exhausted", "recipient_invalid", "invalid_json")
    messages = [
        failed_before(3000 - n, f"r{n}", reason=reasons[n % 3], body=b"{" if n % 3 == 2 else None) for n in range(1500)
    ]
    await dead_letter(publisher, messages)
    for _ in range(2):
        listed = await queue.list(EVERYTHING)
        assert (listed.scanned, len(listed.items), listed.truncated) == (1500, 1000, True)
        assert [entry.id for entry in listed.items] == [m.headers["notify-failed-id"] for m in messages[:1000]]
    assert {entry.request_id for entry in listed.items if entry.reason == "invalid_json"} == {None}
    only = await queue.list(parse_listing({"reason": "recipient_invalid", "limit": 1000}))
    assert (len(only.items), only.truncated) == (500, False)


async def test_a_listing_shows_what_a_worker_wrote(publisher: Publisher, queue: FailedQueue) -> None:
    lane = Lane("email", "high")
    state = DeliveryState(attempt=3, first_attempt_at="2026-01-02T03:04:05.678Z")
    message = failed("r1", reason="payload_rejected", lane=lane, state=state)
    await dead_letter(publisher, [message])
    (item,) = (await queue.list(EVERYTHING)).model_dump()["items"]
    assert item == {
        "id": message.headers["notify-failed-id"],
        "request_id": "r1",
        "channel": "email",
        "lane": "high",
        "reason": "payload_rejected",
        "error": "fcm 503",
        "provider": "fcm",
        "attempts": 4,
        "first_attempt_at": "2026-01-02T03:04:05.678Z",
        "failed_at": message.headers["notify-failed-at"],
        "queue": "email.high.queue",
        "body_bytes": len(message.body),
    }


async def test_fifty_listings_leave_everything_where_it_is(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    # There are more listings than the 20 deliveries after which RabbitMQ drops a message by default.
    await dead_letter(publisher, [failed(f"r{n}") for n in range(40)])
    for _ in range(50):
        listed = await queue.list(EVERYTHING)
        assert len({entry.request_id for entry in listed.items}) == 40
        assert await count(channel) == 40


async def test_a_queue_that_is_not_declared_yet_is_empty(queue: FailedQueue) -> None:
    listed = await queue.list(EVERYTHING)
    assert (listed.items, listed.scanned, listed.waiting, listed.reasons, listed.truncated) == ([], 0, 0, {}, False)


_UNREADABLE = {
    "milliseconds for seconds": struct.pack(">cQ", b"T", 1_700_000_000_000),
    "beyond what the system can hold": struct.pack(">cQ", b"T", 2**63 - 1),
    "nested too deep": b"".join(b"A" + struct.pack(">I", 5 * (2000 - n)) for n in range(1, 2001)),
}


@pytest.mark.parametrize("wire", _UNREADABLE.values(), ids=_UNREADABLE)
async def test_an_unreadable_header_stops_no_operation(
    wire: bytes, publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(pieces: list[bytes], value: Any) -> int:
        return value.encode(pieces) if isinstance(value, RawHeader) else encode_value(pieces, value)

    encode_value = pika.data.encode_value
    monkeypatch.setattr(pika.data, "encode_value", encode)
    await dead_letter(publisher, [failed("r1"), failed("r2", notify_other=RawHeader(wire)), failed("r3")])
    entries = (await queue.list(EVERYTHING)).items
    assert {(entry.request_id, entry.reason) for entry in entries} == {
        ("r1", "attempts_exhausted"),
        ("r2", "unknown"),
        ("r3", "attempts_exhausted"),
    }
    done = await queue.replay(parse_replay({"all": True}), operator="test")
    assert done.done == 3
    assert len(await take_all(channel, "push.queue")) == 3


async def test_a_scan_is_bounded_by_count_and_by_bytes(
    publisher: Publisher, channel: AmqpChannel, vhost_url: str
) -> None:
    await dead_letter(
        publisher, [failed(f"r{n}", body=push_body(f"r{n}", metadata={"fill": "x" * 10_000})) for n in range(60)]
    )
    async with failed_operation(vhost_url, most_messages=25) as scan:
        await scan.take(lambda _message: True)
        assert (scan.taken, scan.truncated) == (25, True)
    async with failed_operation(vhost_url, most_bytes=300_000) as scan:
        await scan.take(lambda _message: True)
        assert 300_000 <= scan.taken_bytes < 320_000
        assert scan.truncated
    async with failed_operation(vhost_url, most_messages=60) as scan:
        await scan.take(lambda _message: True)
        assert (scan.taken, scan.truncated) == (60, False)
    assert await count(channel) == 60


async def test_a_certain_message_is_found_beyond_the_bound_of_a_scan(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bound of the other operations: 10 000 messages.
    reasons: tuple[DeadReason, DeadReason] = ("expired", "no_recipient")
    messages = [failed(f"r{n}", reason=reasons[n % 3 == 0]) for n in range(10_300)]
    for at in range(0, len(messages), 1_000):
        await dead_letter(publisher, messages[at : at + 1_000])
    last = messages[-1].headers["notify-failed-id"]
    # Nothing has been taken and requeued yet, so the last one is beyond the bound.
    shown = await queue.show(last, reveal=False, operator="test")
    assert shown is not None
    await eventually_async(lambda: _has(channel, len(messages)))
    listed = await queue.list(parse_listing({"limit": 10}))
    assert (listed.scanned, listed.waiting, listed.matched, listed.truncated) == (10_000, 10_300, 10_000, True)
    assert sum(listed.reasons.values()) == 10_000
    assert set(listed.reasons) == set(reasons)
    await eventually_async(lambda: _has(channel, len(messages)))
    none = await queue.list(parse_listing({"reason": "rejected"}))
    assert (none.items, none.matched, none.truncated) == ([], 0, True)
    await eventually_async(lambda: _has(channel, len(messages)))
    nothing = await queue.discard(parse_discard({"reason": "rejected"}), operator="test")
    assert (nothing.matched, nothing.done, nothing.truncated) == (0, 0, True)
    await eventually_async(lambda: _has(channel, len(messages)))
    by_request = await queue.list(parse_listing({"request_id": "r10299"}))
    assert [item.id for item in by_request.items] == [last]
    assert (by_request.scanned, by_request.truncated) == (10_300, False)
    first = messages[0].headers["notify-failed-id"]
    done = await queue.replay(parse_replay({"ids": [first, last, "unknown"]}), operator="test")
    assert (done.matched, done.done, done.missing, done.truncated) == (2, 2, ["unknown"], False)
    assert await count(channel) == len(messages) - 2


async def _has(channel: AmqpChannel, messages: int) -> bool:
    return await count(channel) == messages


async def test_the_second_of_two_concurrent_operations_is_refused(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, vhost_url: str
) -> None:
    await dead_letter(publisher, [failed(f"r{n}") for n in range(30)])
    async with failed_operation(vhost_url) as scan:
        await scan.take(lambda _message: True)
        assert await count(channel) == 0
        for operation in (
            queue.list(EVERYTHING),
            queue.show("x", reveal=False, operator="test"),
            queue.replay(parse_replay({"all": True}), operator="test"),
            queue.discard(parse_discard({"all": True}), operator="test"),
        ):
            with pytest.raises(Locked):
                await operation
    assert len((await queue.list(EVERYTHING)).items) == 30
    answers = await asyncio.gather(*(queue.list(EVERYTHING) for _ in range(5)), return_exceptions=True)
    listings = [answer for answer in answers if not isinstance(answer, Locked)]
    assert listings
    assert all(not isinstance(answer, BaseException) and answer.scanned == 30 for answer in listings)


async def test_a_cancelled_listing_leaves_everything_where_it_is(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, vhost_url: str
) -> None:
    await dead_letter(publisher, [failed(f"r{n}") for n in range(500)])
    taken = asyncio.Event()

    async def look() -> None:
        async with failed_operation(vhost_url) as scan:
            await scan.take(lambda _message: True)
            taken.set()
            await asyncio.Event().wait()

    listing = asyncio.create_task(look())
    await taken.wait()
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    await eventually_async(lambda: _is(channel, 500))
    assert (await queue.list(EVERYTHING)).scanned == 500


async def test_an_operator_whose_process_dies_leaves_everything_where_it_is(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, vhost_url: str
) -> None:
    await dead_letter(publisher, [failed(f"r{n}") for n in range(500)])
    assert await _crash("taken", vhost_url) == -signal.SIGKILL
    await eventually_async(lambda: _is(channel, 500))

    async def unlocked() -> bool:
        try:
            return (await queue.list(EVERYTHING)).scanned == 500
        except Locked:
            return False

    await eventually_async(unlocked)


async def test_a_replay_that_dies_between_publish_and_ack_loses_nothing(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, vhost_url: str
) -> None:
    await dead_letter(publisher, [failed(f"r{n}") for n in range(300)])
    assert await _crash("published", vhost_url) == -signal.SIGKILL
    # No message was acked before its copy was confirmed, and at most one batch is in both queues.
    await eventually_async(lambda: _is(channel, 300))
    assert await count(channel, "push.queue") == 200

    async def unlocked() -> bool:
        try:
            done = await queue.replay(parse_replay({"all": True}), operator="test")
        except Locked:
            return False
        return done.done == 300

    await eventually_async(unlocked)
    assert await count(channel) == 0
    copies = await take_all(channel, "push.queue")
    lives = [(properties.correlation_id, read_state(properties.headers).replay) for _, properties, _ in copies]
    assert {request_id for request_id, _ in lives} == {f"r{n}" for n in range(300)}
    # The second copy has a higher replay number than the first, so the claims know which one is stale.
    assert len(set(lives)) == 500


async def test_a_replay_begins_a_new_life_in_the_lane_that_the_message_had(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    lanes = [lane for name in CHANNELS for lane in lanes_of(name)]
    earlier = now_ms() + 3_600_000  # as written by a machine whose clock is an hour ahead
    state = DeliveryState(
        attempt=7, deferrals=4, replay=earlier, last_error="e", first_attempt_at="2026-01-01T00:00:00.000Z"
    )
    messages = {lane: failed(lane.routing_key.replace(".", "-"), lane=lane, state=state) for lane in lanes}
    await dead_letter(publisher, messages.values())
    done = await queue.replay(parse_replay({"all": True}), operator="test")
    assert (done.matched, done.done, done.skipped) == (len(lanes), len(lanes), [])
    assert await count(channel) == 0
    for lane, message in messages.items():
        ((_, properties, body),) = await take_all(channel, lane.queue)
        assert body == message.body
        assert properties.correlation_id == message.correlation_id
        assert set(properties.headers) == {"notify-accepted-at", "notify-attempt", "notify-deferrals", "notify-replay"}
        life = read_state(properties.headers)
        assert (life.attempt, life.deferrals, life.replay) == (0, 0, earlier + 1)
        assert now_ms() - (parse_rfc3339(life.accepted_at) or 0) < 60_000


async def test_a_message_that_the_broker_gave_up_is_replayed_without_its_history(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    await publisher.publish(Publication(topology.EXCHANGE, "sms.low", push_body("r1", notification_type="sms"), {}))
    while (got := await channel.get("sms.low.queue")) is not None:
        channel.raw.basic_nack(got[0].delivery_tag, requeue=True)
    await eventually_async(lambda: _is(channel, 1))
    (entry,) = (await queue.list(parse_listing({"reason": "delivery_limit"}))).items
    assert (entry.queue, entry.channel, entry.lane, entry.request_id) == ("sms.low.queue", "sms", "low", "r1")
    assert len(entry.id) == 16
    assert entry.failed_at
    assert (await queue.list(EVERYTHING)).items[0].id == entry.id
    await queue.replay(parse_replay({"ids": [entry.id]}), operator="test")
    ((_, properties, _),) = await take_all(channel, "sms.low.queue")
    assert not {name for name in properties.headers if name.startswith("x-")}


async def test_a_message_that_expired_in_its_lane_is_replayed_without_its_expiration(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    publish_expiring(channel, "push.high", push_body("r1"), within_ms=1)
    await eventually_async(lambda: _is(channel, 1))
    (entry,) = (await queue.list(parse_listing({"reason": "expired"}))).items
    assert (entry.channel, entry.lane, entry.attempts) == ("push", "high", 0)
    await queue.replay(parse_replay({"reason": "expired"}), operator="test")
    ((_, properties, _),) = await take_all(channel, "push.high.queue")
    assert properties.expiration is None
    assert "x-death" not in properties.headers


async def test_a_message_that_passed_the_ladder_first_is_told_by_its_last_death(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    await publisher.publish(Publication(topology.retry_exchange(1.0), "push", push_body("r1"), {"notify-attempt": 2}))
    await eventually_async(lambda: _is(channel, 1, "push.queue"))
    while (got := await channel.get("push.queue")) is not None:
        channel.raw.basic_nack(got[0].delivery_tag, requeue=True)
    await eventually_async(lambda: _is(channel, 1))
    (entry,) = (await queue.list(EVERYTHING)).items
    assert (entry.reason, entry.queue, entry.attempts) == ("delivery_limit", "push.queue", 2)
    await queue.replay(parse_replay({"all": True}), operator="test")
    # It passes the ladder once more: with its old x-death the broker would drop it as a cycle.
    ((_, properties, body),) = await take_all(channel, "push.queue")
    await publisher.publish(Publication(topology.retry_exchange(1.0), "push", body, properties.headers))
    await eventually_async(lambda: _is(channel, 1, "push.queue"))


async def test_a_rejected_message_has_the_reason_rejected(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    await publisher.publish(Publication(topology.EXCHANGE, "email", b"not json", {}))
    got = await channel.get("email.queue")
    assert got is not None
    channel.raw.basic_reject(got[0].delivery_tag, requeue=False)
    await eventually_async(lambda: _is(channel, 1))
    (entry,) = (await queue.list(parse_listing({"reason": "rejected", "channel": "email"}))).items
    assert entry.request_id is None
    shown = await queue.show(entry.id, reveal=True, operator="test")
    assert shown is not None
    assert shown.envelope is None


async def test_a_message_that_cannot_be_replayed_stays_and_is_reported(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    past = push_body("late", expires_at="2020-01-01T00:00:00Z")
    messages = {
        "undecodable": failed("broken", body=b"{"),
        "unknown_queue": failed("lost", notify_failed_queue="fax.queue"),
        "expired": failed("late", body=past),
    }
    await dead_letter(publisher, [*messages.values(), failed("fine")])
    done = await queue.replay(parse_replay({"all": True}), operator="test")
    assert (done.matched, done.done) == (4, 1)
    ids = {reason: message.headers["notify-failed-id"] for reason, message in messages.items()}
    assert {each.reason: each.id for each in done.skipped} == ids
    assert await count(channel) == 3
    done = await queue.replay(parse_replay({"all": True, "ignore_expiry": True}), operator="test")
    assert (done.matched, done.done) == (3, 1)
    late = (await take_all(channel, "push.queue"))[-1]
    assert late[2] == past
    assert read_state(late[1].headers).ignore_expiry


async def test_a_dry_run_says_what_would_be_and_changes_nothing(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    await dead_letter(publisher, [failed("r1"), failed("r2", body=b"{")])
    replay = await queue.replay(parse_replay({"all": True, "dry_run": True}), operator="test")
    discard = await queue.discard(parse_discard({"all": True, "dry_run": True}), operator="test")
    assert (replay.matched, replay.done, len(replay.skipped), replay.dry_run) == (2, 0, 1, True)
    assert (discard.matched, discard.done, discard.dry_run) == (2, 0, True)
    assert await count(channel) == 2
    assert await count(channel, "push.queue") == 0


async def test_a_discard_removes_what_was_selected_and_nothing_else(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    await dead_letter(
        publisher,
        [
            failed_before(7200, "old"),
            failed_before(10, "young"),
            failed("mail", lane=Lane("email", "low")),
            failed("dead", reason="recipient_invalid"),
            *(failed_before(100 - n, f"many-{n}", reason="no_recipient") for n in range(10)),
        ],
    )

    async def left() -> set[str | None]:
        return {entry.request_id for entry in (await queue.list(EVERYTHING)).items}

    async def discard(**fields: object) -> int:
        return (await queue.discard(parse_discard(fields), operator="test")).done

    assert await discard(older_than="1h") == 1
    assert "old" not in await left()
    assert await discard(channel="email") == 1
    assert await discard(reason="recipient_invalid", channel="sms") == 0
    assert await discard(reason="recipient_invalid") == 1
    assert await discard(request_id="nobody") == 0
    assert await discard(reason="no_recipient", limit=7) == 7
    assert await left() == {"young", "many-7", "many-8", "many-9"}
    young = (await queue.list(parse_listing({"request_id": "young"}))).items[0]
    assert await discard(ids=[young.id, "unknown"]) == 1
    assert await discard(all=True) == 3
    assert await count(channel) == 0


async def test_every_other_message_of_many_is_discarded_for_good(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue
) -> None:
    # There are thousands of single acks: the broker buffers some, and must have received all of them before the channel
    # closes.
    reasons: tuple[DeadReason, DeadReason] = ("expired", "no_recipient")
    await dead_letter(publisher, [failed(f"r{n}", reason=reasons[n % 2]) for n in range(2000)])
    done = await queue.discard(parse_discard({"reason": "expired"}), operator="test")
    assert done.done == 1000
    listed = await queue.list(EVERYTHING)
    assert (listed.scanned, {entry.reason for entry in listed.items}) == (1000, {"no_recipient"})


async def test_a_lane_that_takes_nothing_keeps_its_messages_in_failed_queue(
    publisher: Publisher, channel: AmqpChannel, queue: FailedQueue, rabbitmq: RabbitMQServer, vhost: str
) -> None:
    await dead_letter(publisher, [failed("p1"), failed("e1", lane=Lane("email", "medium"))])
    rabbitmq.ctl("set_policy", "-p", vhost, "full", "^push.queue$", '{"max-length":0}', "--apply-to", "queues")
    await publisher.publish_all([Publication(topology.EXCHANGE, "push", push_body("fill"), {})])
    done = await queue.replay(parse_replay({"all": True}), operator="test")
    assert (done.matched, done.done) == (2, 1)
    assert [each.reason for each in done.skipped] == ["unconfirmed"]
    assert [entry.request_id for entry in (await queue.list(EVERYTHING)).items] == ["p1"]


async def test_an_unavailable_broker_is_reported_within_the_gateways_time(vhost_url: str) -> None:
    nowhere = FailedQueue(settings_for("amqp://guest:guest@127.0.0.1:9/"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(BrokerUnavailable):
        await nowhere.list(EVERYTHING)
    assert loop.time() - began < 5


async def test_a_broker_that_becomes_unresponsive_is_reported_too(
    publisher: Publisher, channel: AmqpChannel, rabbitmq: RabbitMQServer, vhost_url: str
) -> None:
    await dead_letter(publisher, [failed(f"r{n}") for n in range(5)])
    with pytest.raises(BrokerUnavailable):
        async with failed_operation(vhost_url) as scan:
            rabbitmq.pause()
            try:
                await scan.take(lambda _message: True)
            finally:
                rabbitmq.resume()
    await eventually_async(lambda: _is(channel, 5))


async def _is(channel: AmqpChannel, number: int, name: str = topology.FAILED_QUEUE) -> bool:
    return await count(channel, name) == number


async def _crash(point: str, url: str) -> int:
    """Runs an operator's process that kills itself at ``point``, and returns its exit status."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.integration.failed.crash", point, url)
    return await process.wait()
