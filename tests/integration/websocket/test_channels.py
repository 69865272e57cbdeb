"""Tests that devices subscribe to channels: live messages, resume, groups, limits, and a Redis that was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from services.websocket import feeds as feeds_module
from shared.realtime.channels.names import key_of
from shared.realtime.channels.sender import Channels
from tests.support.realtime.stage import Device, Stage, serving, token
from tests.support.stores import Databases
from tests.support.waiting import eventually_async

NEWS = "news.sport"


@pytest.fixture
async def stage(databases: Databases, redis_url: str) -> AsyncIterator[Stage]:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url) as stage:
            yield stage


@pytest.fixture
def channels(redis_client: redis.Redis) -> Channels:
    return Channels(redis_client, keep=5, keep_s=60)


async def reader_of(stage: Stage, *patterns: str, user: str = "ann") -> Device:
    """Returns a device that may subscribe channels that match the patterns."""
    device = await stage.connect(user=None)
    await device.send("auth", token=token(user, channels=patterns or ("news.*",)))
    await device.loaded()
    return device


async def subscribed(device: Device, channel: str = NEWS, **fields: Any) -> dict[str, Any]:
    """Subscribes, and returns the last ``subscribed`` frame with the items of all of them."""
    await device.send("subscribe", channel=channel, **fields)
    return await told(device)


async def told(device: Device) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    while True:
        frame = await device.frame_of("subscribed")
        items += frame["items"]
        if "offset" in frame:
            return {**frame, "items": items}


def send(channels: Channels, *texts: str, channel: str = NEWS) -> None:
    for text in texts:
        channels.send(channel, text, "medium")


async def test_what_is_sent_reaches_every_subscriber_at_once(stage: Stage, channels: Channels) -> None:
    send(channels, "before")
    readers = [await reader_of(stage, user=f"u{number}") for number in range(3)]
    for reader in readers:
        answer = await subscribed(reader)
        assert (answer["channel"], answer["recovered"], answer["items"], answer["offset"]) == (NEWS, True, [], 1)
    send(channels, "one", "two")
    for reader in readers:
        first, second = await reader.frame_of("channel_message"), await reader.frame_of("channel_message")
        assert (first["message"], first["prev"], first["offset"]) == ("one", 1, 2)
        assert (second["message"], second["prev"], second["offset"]) == ("two", 2, 3)
    assert stage.node.channels.owners


async def test_the_first_message_of_a_channel_arrives_although_nobody_knew_its_epoch(
    stage: Stage, channels: Channels
) -> None:
    reader = await reader_of(stage)
    assert (await subscribed(reader))["offset"] == 0
    send(channels, "first")
    found = await told(reader)
    assert ([one["message"] for one in found["items"]], found["offset"]) == (["first"], 1)
    send(channels, "second")
    assert (await reader.frame_of("channel_message"))["message"] == "second"


async def test_a_subscriber_goes_on_where_it_was(stage: Stage, channels: Channels) -> None:
    send(channels, "one")
    reader = await reader_of(stage)
    at = await subscribed(reader)
    await reader.connection.close()
    send(channels, "two", "three")
    again = await reader_of(stage)
    found = await subscribed(again, epoch=at["epoch"], offset=at["offset"])
    assert found["recovered"]
    assert [one["message"] for one in found["items"]] == ["two", "three"]


async def test_who_has_missed_too_much_is_told_and_gets_what_is_left(stage: Stage, channels: Channels) -> None:
    send(channels, "one")
    reader = await reader_of(stage)
    at = await subscribed(reader)
    send(channels, *(f"m{number}" for number in range(9)))
    found = await subscribed(await reader_of(stage), epoch=at["epoch"], offset=at["offset"])
    assert not found["recovered"]
    assert [one["message"] for one in found["items"]] == ["m4", "m5", "m6", "m7", "m8"]


async def test_a_message_whose_announcement_was_lost_is_found(
    stage: Stage, channels: Channels, redis_client: redis.Redis
) -> None:
    send(channels, "one")
    reader = await reader_of(stage)
    await subscribed(reader)
    # The message is there, but nobody was told.
    redis_client.hset(key_of(NEWS), "seq", 2)
    redis_client.xadd(f"{key_of(NEWS)}:low", _entry(redis_client), id="2-0")
    assert await stage.node.channels.check(lambda: asyncio.sleep(0)) == 1
    found = await told(reader)
    assert (found["recovered"], found["offset"], len(found["items"])) == (True, 2, 1)


def _entry(redis_client: redis.Redis) -> Any:
    """Returns the fields of the entry that the channel has."""
    [(_, fields)] = redis_client.xrange(f"{key_of(NEWS)}:medium")  # type: ignore[misc]
    return fields


async def test_a_group_is_all_of_its_channels(stage: Stage, channels: Channels) -> None:
    stage.store.put_group("all", ["news.a", "news.b"])
    reader = await reader_of(stage)
    await reader.send("subscribe", group="all")
    assert {(await told(reader))["channel"] for _ in range(2)} == {"news.a", "news.b"}
    channels.send("news.b", "to b", "high")
    found = await reader.frame_of("channel_message", "subscribed")
    assert found["channel"] == "news.b"
    await reader.send("unsubscribe", group="all", id=7)
    assert (await reader.frame_of("done"))["id"] == 7
    await eventually_async(lambda: not stage.node.channels.owners)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"channel": "secret"}, "forbidden"),
        ({"channel": "newsroom"}, "forbidden"),
        ({"channel": "news.a b"}, "invalid"),
        ({"channel": 7}, "invalid"),
        ({"channel": "news.a", "group": "all"}, "invalid"),
        ({}, "invalid"),
        ({"group": "unknown"}, "no_such_group"),
        ({"channel": NEWS, "epoch": "a"}, "invalid"),
        ({"channel": NEWS, "offset": 3}, "invalid"),
        ({"channel": NEWS, "epoch": "a", "offset": -1}, "invalid"),
        ({"channel": NEWS, "epoch": "a", "offset": "1"}, "invalid"),
    ],
)
async def test_what_cannot_be_subscribed_says_why(frame: dict[str, Any], code: str, stage: Stage) -> None:
    reader = await reader_of(stage)
    await reader.send("subscribe", id="f1", **frame)
    answer = await reader.frame_of("error", "subscribed")
    assert (answer["type"], answer.get("code"), answer.get("id")) == ("error", code, "f1")
    assert not stage.node.channels.owners


async def test_without_a_grant_nothing_can_be_subscribed_and_an_open_node_asks_for_none(
    stage: Stage, databases: Databases, redis_url: str
) -> None:
    plain = await stage.live()
    await plain.send("subscribe", channel=NEWS)
    assert (await plain.frame_of("error"))["code"] == "forbidden"
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_token_keys="", socket_auth="open") as open_stage:
            device = await open_stage.connect("/ws?user_id=ann", user=None)
            await device.loaded()
            # The short form has no type.
            await device.connection.send('{"channel": "channel1"}')
            assert (await told(device))["channel"] == "channel1"


async def test_a_connection_has_a_limited_number_of_channels(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "MOST_SUBSCRIPTIONS", 3)
    reader = await reader_of(stage)
    for number in range(3):
        await subscribed(reader, f"news.{number}")
    # A second time is no further one.
    await subscribed(reader, "news.0")
    await reader.send("subscribe", channel="news.3")
    assert (await reader.frame_of("error"))["code"] == "too_many_channels"
    await reader.send("unsubscribe", channel="news.0")
    await reader.frame_of("done")
    await subscribed(reader, "news.3")


async def test_a_connection_that_ends_leaves_no_subscription(stage: Stage) -> None:
    reader = await reader_of(stage)
    await subscribed(reader)
    await reader.connection.close()
    await eventually_async(lambda: not stage.node.channels.owners)
    assert stage.node._parts.feeds.subscriptions == 0


async def test_a_redis_that_loses_everything_costs_a_new_beginning_and_no_connection(
    stage: Stage, channels: Channels, redis_client: redis.Redis
) -> None:
    send(channels, "one", "two")
    reader = await reader_of(stage)
    await subscribed(reader)
    redis_client.flushall()
    send(channels, "after")
    found = await told(reader)
    assert [one["message"] for one in found["items"]] == ["after"]
    assert not found["recovered"]


async def test_a_subscription_that_cannot_be_read_is_tried_again_and_the_inbox_goes_on(
    stage: Stage, channels: Channels, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds_module, "AGAIN_S", (0.05, 0.1))
    await stage.add()
    send(channels, "one")
    reader = await reader_of(stage)
    # A key of another kind makes every read of this channel fail.
    redis_client.rename(key_of(NEWS), "kept")
    redis_client.set(key_of(NEWS), "no hash")
    await reader.send("subscribe", channel=NEWS, epoch="", offset=0)
    await stage.add()
    assert (await reader.frame_of("notification"))["unread"] == 2
    redis_client.rename("kept", key_of(NEWS))
    assert [one["message"] for one in (await told(reader))["items"]] == ["one"]
