"""Checks against a real Redis that a ticket opens one connection, for 30 seconds, on whichever node comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared import clock
from shared.errors import RedisUnavailable
from shared.realtime.tickets import LIFE_S, make_ticket, take_ticket
from shared.realtime.tokens import BadToken, Claims
from shared.redis.batch import Batcher
from shared.redis.client import sync_client

CLAIMS = Claims("tenant/u 1", ("news.*",), 1_900_000_000_000)
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
async def batcher(redis_url: str) -> AsyncIterator[Batcher]:
    made = Batcher(redis_url)
    yield made
    await made.close()


async def test_it_is_good_once(redis_url: str, batcher: Batcher) -> None:
    ticket, expires_ms = make_ticket(sync_client(redis_url), CLAIMS)

    assert LIFE_S * 1000 - 2000 < expires_ms - clock.now_ms() <= LIFE_S * 1000
    assert await take_ticket(batcher, ticket) == CLAIMS
    with pytest.raises(BadToken):
        await take_ticket(batcher, ticket)


async def test_of_many_who_ask_at_once_one_gets_it(redis_url: str, batcher: Batcher) -> None:
    ticket, _ = make_ticket(sync_client(redis_url), CLAIMS)
    nodes = [Batcher(redis_url) for _ in range(8)]

    answers = await asyncio.gather(*(take_ticket(node, ticket) for node in nodes), return_exceptions=True)

    assert sorted(type(answer).__name__ for answer in answers) == ["BadToken"] * 7 + ["Claims"]
    for node in nodes:
        await node.close()


async def test_redis_forgets_it_after_30_seconds(redis_url: str, batcher: Batcher) -> None:
    client = sync_client(redis_url)
    ticket, _ = make_ticket(client, CLAIMS)

    assert 0 < client.pttl(f"notify-ticket:{ticket}") <= LIFE_S * 1000
    assert ticket != make_ticket(client, CLAIMS)[0]


@pytest.mark.parametrize("ticket", ["", "x", "A" * 42, "A" * 43, "A" * 44, "A" * 42 + "\n", "*" * 43, "é" * 43])
async def test_any_other_text_is_refused(ticket: str, batcher: Batcher) -> None:
    with pytest.raises(BadToken) as caught:
        await take_ticket(batcher, ticket)
    assert caught.value.close.code == 4501


async def test_without_redis_there_are_none(redis_url: str) -> None:
    batcher = Batcher(NOWHERE)
    with pytest.raises(RedisUnavailable):
        make_ticket(sync_client(NOWHERE), CLAIMS)
    with pytest.raises(RedisUnavailable):
        await take_ticket(batcher, "A" * 43)
    await batcher.close()
