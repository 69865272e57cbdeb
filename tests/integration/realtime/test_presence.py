"""Tests who counts as connected, over several nodes, and that nobody has more connections than allowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from shared.realtime.presence import LIFE_S, NODE_LIFE_S, Presence, PresenceReader, kicked, node_channel
from shared.redis.batch import Batcher
from shared.store.values import Owner

ANN = Owner("ann")
Nodes = Callable[[str], Presence]


@pytest.fixture
async def node(redis_url: str) -> AsyncIterator[Nodes]:
    """Makes nodes that allow three connections per user."""
    batcher = Batcher(redis_url)
    yield lambda name: Presence(batcher, name, 3)
    await batcher.close()


@pytest.fixture
def reader(redis_client: redis.Redis) -> PresenceReader:
    return PresenceReader(redis_client)


def names(reader: PresenceReader, owner: Owner = ANN) -> list[str]:
    return [one.connection for one in reader.connected(owner)]


async def test_connections_of_all_nodes_are_seen_oldest_first(node: Nodes, reader: PresenceReader) -> None:
    one, other = node("aa"), node("bb")
    await one.beat({})
    await other.beat({})
    assert (await one.connect(ANN, "c1")).connections == 1
    assert (await other.connect(ANN, "c2", 1)).connections == 2
    found = reader.connected(ANN)
    assert [(each.connection, each.node) for each in found] == [("c2", "bb"), ("c1", "aa")]
    assert found[0].since_ms == 1
    assert names(reader, Owner("ann", "other")) == []


async def test_one_that_has_ended_is_gone(node: Nodes, reader: PresenceReader) -> None:
    one = node("aa")
    await one.beat({})
    await one.connect(ANN, "c1")
    assert await one.held(ANN, "c1")
    await one.disconnect(ANN, "c1")
    assert not await one.held(ANN, "c1")
    assert names(reader) == []


async def test_all_of_a_dead_node_are_gone_together(
    node: Nodes, reader: PresenceReader, redis_client: redis.Redis
) -> None:
    dead, alive = node("aa"), node("bb")
    await dead.beat({})
    await alive.beat({})
    for number in range(3):
        await dead.connect(ANN, f"d{number}")
    redis_client.delete("notify-node:aa")
    assert names(reader) == []
    # They make room: nobody is evicted for them.
    registered = await alive.connect(ANN, "a1")
    assert (registered.connections, registered.evicted) == (1, False)
    assert redis_client.hkeys("notify-presence::ann") == [b"a1"]


async def test_the_oldest_above_the_limit_is_evicted_wherever_it_is(
    node: Nodes, reader: PresenceReader, redis_client: redis.Redis
) -> None:
    one, other = node("aa"), node("bb")
    await one.beat({})
    await other.beat({})
    with redis_client.pubsub() as kicks:  # type: ignore[no-untyped-call]
        kicks.subscribe(node_channel("aa").decode())
        assert kicks.get_message(timeout=2) is not None
        await one.connect(ANN, "c1", 1)
        for number in range(2, 4):
            await other.connect(ANN, f"c{number}", number)
        registered = await other.connect(ANN, "c4", 4)
        assert (registered.connections, registered.evicted) == (3, False)
        message = kicks.get_message(timeout=2)
        assert message is not None
        assert kicked(message["data"]) == "c1"
    assert names(reader) == ["c2", "c3", "c4"]


async def test_those_of_a_killed_node_make_room_before_anybody_is_evicted(
    node: Nodes, reader: PresenceReader, redis_client: redis.Redis
) -> None:
    killed, alive, another = node("aa"), node("bb"), node("cc")
    for each in (killed, alive, another):
        await each.beat({})
    with redis_client.pubsub() as kicks:  # type: ignore[no-untyped-call]
        # Nobody hears the killed node's channel, though its key lives on.
        kicks.subscribe(node_channel("bb").decode())
        assert kicks.get_message(timeout=2) is not None
        await alive.connect(ANN, "oldest", 1)
        await killed.connect(ANN, "d1", 2)
        await killed.connect(ANN, "d2", 3)
        for back in ("back1", "back2"):
            registered = await another.connect(ANN, back)
            assert (registered.connections, registered.evicted) == (3, False)
        assert names(reader) == ["oldest", "back1", "back2"]
        assert kicks.get_message(timeout=0.1) is None
        # One more is one too many.
        await another.connect(ANN, "more")
        message = kicks.get_message(timeout=2)
        assert message is not None
        assert kicked(message["data"]) == "oldest"


async def test_one_that_was_evicted_learns_it_when_it_registers_again(node: Nodes, reader: PresenceReader) -> None:
    one = node("aa")
    await one.beat({})
    for number in range(1, 5):
        await one.connect(ANN, f"c{number}", number)
    assert (await one.connect(ANN, "c1", 1)).evicted
    assert names(reader) == ["c2", "c3", "c4"]


async def test_after_redis_was_emptied_all_may_register_again(
    node: Nodes, reader: PresenceReader, redis_client: redis.Redis
) -> None:
    one = node("aa")
    assert not await one.beat({})
    since = {f"c{number}": (await one.connect(ANN, f"c{number}")).since_ms for number in range(3)}
    assert await one.beat({})
    redis_client.flushall()
    assert not await one.beat({})
    for name, at_ms in since.items():
        assert not (await one.connect(ANN, name, at_ms)).evicted
    assert sorted(names(reader)) == sorted(since)


async def test_racing_connections_never_leave_too_many(node: Nodes, reader: PresenceReader) -> None:
    nodes = [node(name) for name in ("aa", "bb", "cc")]
    for each in nodes:
        await each.beat({})
    await asyncio.gather(*(random.choice(nodes).connect(ANN, f"c{number}") for number in range(60)))
    assert len(names(reader)) == 3


async def test_what_is_written_does_not_stay_for_ever(node: Nodes, redis_client: redis.Redis) -> None:
    one = node("aa")
    await one.beat({"port": 5055})
    await one.connect(ANN, "c1")
    assert 0 < redis_client.ttl("notify-node:aa") <= NODE_LIFE_S
    assert 0 < redis_client.ttl("notify-presence::ann") <= LIFE_S
    await one.leave()
    assert redis_client.get("notify-node:aa") is None


async def test_a_key_of_another_kind_harms_only_its_own_user(node: Nodes, redis_client: redis.Redis) -> None:
    one = node("aa")
    redis_client.set("notify-presence::bob", "no hash")
    answers = await asyncio.gather(one.connect(Owner("bob"), "c1"), one.connect(ANN, "c2"), return_exceptions=True)
    assert isinstance(answers[0], Exception)
    assert answers[1].connections == 1  # type: ignore[union-attr]
