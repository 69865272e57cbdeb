"""Tests channels with a real Redis: what is kept, and from where a subscriber can go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import redis

from shared.message.channels import PRIORITIES, Priority
from shared.realtime.channels.names import key_of
from shared.realtime.channels.reader import ChannelPull, ChannelReader
from shared.realtime.channels.sender import Channels
from shared.realtime.wakeup import parse
from shared.redis.batch import Batcher
from shared.store.values import Position
from tests.support.waiting import eventually

NEWS = "news.sport"
BEGINNING = Position("", 0)


@pytest.fixture
def channels(redis_client: redis.Redis) -> Channels:
    return Channels(redis_client, keep=5, keep_s=60)


@pytest.fixture
async def reader(redis_url: str) -> AsyncIterator[ChannelReader]:
    batcher = Batcher(redis_url)
    yield ChannelReader(batcher, keep_s=60)
    await batcher.close()


async def pull(reader: ChannelReader, position: Position | None, channel: str = NEWS) -> ChannelPull:
    [found] = await reader.pull([(channel, position)])
    return found


def texts(pull: ChannelPull) -> list[str]:
    return [orjson.loads(frame)["message"] for frame in pull.rows]


def send(channels: Channels, count: int, priority: Priority = "high", channel: str = NEWS) -> None:
    for number in range(count):
        channels.send(channel, f"{priority} {number}", priority)


async def test_one_sequence_numbers_the_messages_of_all_priorities(channels: Channels, reader: ChannelReader) -> None:
    for priority in PRIORITIES:
        send(channels, 2, priority)
    whole = await pull(reader, BEGINNING)
    frames = [orjson.loads(frame) for frame in whole.rows]
    assert [(one["offset"], one["prev"]) for one in frames] == [(n, n - 1) for n in range(1, 7)]
    assert texts(whole) == ["high 0", "high 1", "medium 0", "medium 1", "low 0", "low 1"]
    assert whole.recovered
    assert whole.position.offset == 6
    assert len({one["id"] for one in frames}) == 6


async def test_a_position_within_what_is_kept_goes_on_with_exactly_the_rest(
    channels: Channels, reader: ChannelReader
) -> None:
    send(channels, 3)
    there = (await pull(reader, BEGINNING)).position
    nothing = await pull(reader, there)
    assert (nothing.recovered, nothing.rows, nothing.position) == (True, (), there)
    send(channels, 2, "low")
    rest = await pull(reader, there)
    assert rest.recovered
    assert texts(rest) == ["low 0", "low 1"]


async def test_who_has_no_position_begins_at_the_end(channels: Channels, reader: ChannelReader) -> None:
    send(channels, 3)
    found = await pull(reader, None)
    assert (found.recovered, found.rows, found.position.offset) == (True, (), 3)


async def test_what_was_dropped_shows_as_a_missing_number(channels: Channels, reader: ChannelReader) -> None:
    send(channels, 3)
    there = (await pull(reader, BEGINNING)).position
    send(channels, 6)
    found = await pull(reader, there)
    assert not found.recovered
    assert texts(found) == ["high 1", "high 2", "high 3", "high 4", "high 5"]
    assert found.position.offset == 9
    # The five that are kept of another priority are not pushed out by it.
    send(channels, 5, "low")
    assert (await pull(reader, found.position)).recovered


async def test_what_is_too_old_is_gone_from_the_history_and_from_a_resume(
    channels: Channels, reader: ChannelReader, redis_client: redis.Redis
) -> None:
    brief = Channels(redis_client, keep=5, keep_s=0.2)
    send(channels, 1)
    there = (await pull(reader, BEGINNING)).position
    brief.send(NEWS, "short-lived", "low")
    assert eventually(lambda: not brief.history(NEWS))
    assert not (await pull(reader, there)).recovered
    # Sending drops from the stream what is too old.
    brief.send(NEWS, "next", "high")
    assert redis_client.xlen(f"{key_of(NEWS)}:high") == 1


@pytest.mark.parametrize("lost", ["hash", "stream", "everything"])
async def test_what_redis_lost_is_never_hidden(
    lost: str, channels: Channels, reader: ChannelReader, redis_client: redis.Redis
) -> None:
    send(channels, 2)
    there = (await pull(reader, BEGINNING)).position
    send(channels, 1)
    if lost == "everything":
        redis_client.flushall()
    else:
        redis_client.delete(key_of(NEWS) if lost == "hash" else f"{key_of(NEWS)}:high")
    before = await pull(reader, there)
    assert not before.recovered
    send(channels, 2, "medium")
    after = await pull(reader, there)
    assert not after.recovered
    assert texts(after)[-2:] == ["medium 0", "medium 1"]
    if lost != "stream":
        # The channel has begun anew: an old stream would hold offsets of another epoch.
        assert texts(after) == ["medium 0", "medium 1"]
        assert after.position.offset == 2
        assert after.position.epoch != there.epoch


async def test_a_redis_that_was_put_back_gives_no_offset_twice(
    channels: Channels, reader: ChannelReader, redis_client: redis.Redis
) -> None:
    send(channels, 3)
    there = (await pull(reader, BEGINNING)).position
    redis_client.hset(key_of(NEWS), "seq", 1)
    redis_client.delete(f"{key_of(NEWS)}:high")
    with redis_client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(key_of(NEWS))
        while not pubsub.subscribed or pubsub.get_message(timeout=0.05) is not None:
            pass
        found = await pull(reader, there)
        assert not found.recovered
        assert found.position.epoch != there.epoch
        # Who listens hears of the new epoch.
        heard = parse(eventually(lambda: pubsub.get_message(timeout=0.05))["data"])
        assert (heard.epoch, heard.frames) == (found.position.epoch, [])
    send(channels, 2, "low")
    assert (await pull(reader, found.position)).recovered
    assert not (await pull(reader, there)).recovered


async def test_each_message_is_published_as_a_wakeup_with_its_frame(
    channels: Channels, redis_client: redis.Redis
) -> None:
    with redis_client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(key_of(NEWS))
        while not pubsub.subscribed or pubsub.get_message(timeout=0.05) is not None:
            pass
        sent = channels.send(NEWS, "new\nline and “quotes”", "medium")
        wakeup = parse(eventually(lambda: pubsub.get_message(timeout=0.05))["data"])
    assert (wakeup.epoch, wakeup.prev, wakeup.to) == (sent.epoch, 0, 1)
    [frame] = wakeup.frames
    assert orjson.loads(frame) == {
        "type": "channel_message",
        "channel": NEWS,
        "offset": 1,
        "prev": 0,
        "id": sent.id,
        "priority": "medium",
        "message": "new\nline and “quotes”",
        "created_at": orjson.loads(frame)["created_at"],
    }


def test_a_request_id_is_sent_once_for_each_client_and_channel(channels: Channels) -> None:
    first = channels.send(NEWS, "once", "high", client="shop", request_id="r-1")
    again = channels.send(NEWS, "once", "high", client="shop", request_id="r-1")
    assert (again.id, again.at_ms, again.repeated) == (first.id, first.at_ms, True)
    assert not channels.send(NEWS, "other", "high", client="bank", request_id="r-1").repeated
    assert not channels.send("news.other", "once", "high", client="shop", request_id="r-1").repeated
    assert [one["message"] for one in channels.history(NEWS)] == ["other", "once"]


def test_the_history_has_the_newest_first_and_can_be_of_one_priority(channels: Channels) -> None:
    send(channels, 2, "low")
    send(channels, 7, "high")
    send(channels, 1, "low")
    assert [one["message"] for one in channels.history(NEWS, "low")] == ["low 0", "low 1", "low 0"]
    assert [one["message"] for one in channels.history(NEWS)] == [
        "low 0",
        *(f"high {n}" for n in (6, 5, 4, 3, 2)),
        "low 1",
        "low 0",
    ]
    assert channels.counts(NEWS) == {"high": 5, "medium": 0, "low": 3, "sent": 10}


async def test_the_positions_of_many_channels(channels: Channels, reader: ChannelReader) -> None:
    send(channels, 2)
    send(channels, 1, channel="other")
    found = await reader.positions([NEWS, "other", "unknown"])
    assert {name: position.offset for name, position in found.items()} == {NEWS: 2, "other": 1}


async def test_many_are_read_at_once_and_each_gets_its_own(channels: Channels, reader: ChannelReader) -> None:
    for number in range(200):
        channels.send(f"c{number}", f"to c{number}", "low")
    pulls = await reader.pull([(f"c{number}", BEGINNING) for number in range(200)])
    assert [texts(found) for found in pulls] == [[f"to c{number}"] for number in range(200)]


def test_redis_forgets_a_channel_that_nobody_uses(channels: Channels, redis_client: redis.Redis) -> None:
    send(channels, 1)
    channels.send(NEWS, "again", "high", request_id="r-1")
    for key in redis_client.keys("*"):
        assert 0 < redis_client.ttl(key) <= 7 * 86_400
