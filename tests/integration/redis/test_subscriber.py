"""Tests that a subscriber hears everything from its confirmation on, and says when it may have missed something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from shared.redis import subscriber as subscriber_module
from shared.redis.client import sync_client
from shared.redis.subscriber import CHANNELS_AT_ONCE, MESSAGES_AT_ONCE, Subscriber
from tests.support.peers.scripted_redis import scripted_redis
from tests.support.waiting import eventually_async


class Ear:
    """Remembers what it hears."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[bytes, bytes]] = []
        self.restored = 0
        self.subscriber = Subscriber(url, self._hear, self._restore)

    def _hear(self, channel: bytes, message: bytes) -> None:
        self.heard.append((channel, message))
        if message == b"bad":
            raise ValueError(message)

    def _restore(self) -> None:
        self.restored += 1


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Ear]:
    ear = Ear(url)
    running = asyncio.create_task(ear.subscriber.run())
    try:
        await eventually_async(lambda: ear.subscriber.connected)
        yield ear
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_everything_after_the_confirmation_is_heard(redis_url: str, redis_client: redis.Redis) -> None:
    async with listening(redis_url) as ear:
        for number in range(50):
            channel = b"c%d" % number
            await ear.subscriber.subscribe(channel)
            assert redis_client.publish(channel, b"x") == 1
        await eventually_async(lambda: len(ear.heard) == 50)
        assert ear.restored == 0


async def test_what_is_unsubscribed_is_heard_no_more(redis_url: str, redis_client: redis.Redis) -> None:
    async with listening(redis_url) as ear:
        await ear.subscriber.subscribe(b"one")
        ear.subscriber.unsubscribe(b"one")
        await ear.subscriber.subscribe(b"one")
        ear.subscriber.unsubscribe(b"one")
        await ear.subscriber.subscribe(b"two")
        assert redis_client.publish(b"one", b"x") == 0
        assert redis_client.publish(b"two", b"x") == 1


async def test_very_many_channels_are_subscribed_in_few_commands(redis_url: str, redis_client: redis.Redis) -> None:
    async with listening(redis_url) as ear:
        redis_client.config_resetstat()
        count = 2 * CHANNELS_AT_ONCE + 1
        await asyncio.gather(*(ear.subscriber.subscribe(b"c%d" % number) for number in range(count)))
        assert redis_client.info("commandstats")["cmdstat_subscribe"]["calls"] == 3
        assert redis_client.pubsub_numsub(f"c{count - 1}") == [(b"c%d" % (count - 1), 1)]


async def test_a_burst_is_heard_whole_and_in_order(redis_url: str, redis_client: redis.Redis) -> None:
    async with listening(redis_url) as ear:
        await ear.subscriber.subscribe(b"c")
        count = 5 * MESSAGES_AT_ONCE
        with redis_client.pipeline(transaction=False) as pipeline:
            for number in range(count):
                pipeline.publish("c", str(number))
            pipeline.execute()
        await eventually_async(lambda: len(ear.heard) == count)
        assert [int(message) for _, message in ear.heard] == list(range(count))


async def test_after_a_loss_all_channels_are_subscribed_again_and_it_says_so(
    redis_url: str, redis_client: redis.Redis
) -> None:
    async with listening(redis_url) as ear:
        for channel in (b"one", b"two"):
            await ear.subscriber.subscribe(channel)
        redis_client.client_kill_filter(_type="pubsub")
        await eventually_async(lambda: ear.restored == 1)
        for channel in (b"one", b"two"):
            assert redis_client.publish(channel, b"again") == 1
        await eventually_async(lambda: len(ear.heard) == 2)


async def test_what_was_subscribed_without_redis_is_subscribed_when_it_is_there(redis_url: str) -> None:
    ear = Ear(redis_url)
    # Without a connection nobody waits.
    await ear.subscriber.subscribe(b"c")
    running = asyncio.create_task(ear.subscriber.run())
    with sync_client(redis_url) as client:
        await eventually_async(lambda: client.publish("c", "x") == 1)
    await eventually_async(lambda: ear.heard == [(b"c", b"x")])
    # Something may have been published before that.
    assert ear.restored == 1
    running.cancel()
    await asyncio.wait([running])


async def test_a_message_that_cannot_be_handled_ends_nothing(redis_url: str, redis_client: redis.Redis) -> None:
    async with listening(redis_url) as ear:
        await ear.subscriber.subscribe(b"c")
        redis_client.publish("c", "bad")
        redis_client.publish("c", "good")
        await eventually_async(lambda: [message for _, message in ear.heard] == [b"bad", b"good"])
        assert ear.restored == 0


async def test_a_redis_that_does_not_confirm_is_given_up() -> None:
    async with scripted_redis(lambda words: None) as redis, listening(f"redis://127.0.0.1:{redis.port}/0") as ear:
        # Nobody waits any longer then: the channel is subscribed over the next connection.
        async with asyncio.timeout(10):
            await ear.subscriber.subscribe(b"c")
        await eventually_async(lambda: redis.connections >= 2)
        assert redis.commands.count([b"SUBSCRIBE", b"c"]) >= 1


async def test_a_silent_redis_is_asked_for_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_module, "QUIET_S", 0.1)
    pong = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    async with scripted_redis(lambda words: pong) as redis, listening(f"redis://127.0.0.1:{redis.port}/0"):
        await eventually_async(lambda: redis.commands.count([b"PING"]) >= 3)
        assert redis.connections == 1
        redis.script = lambda words: None
        await eventually_async(lambda: redis.connections >= 2)
