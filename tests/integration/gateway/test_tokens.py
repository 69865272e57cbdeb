"""Tests with a real Redis that tickets and refresh tokens work from the HTTP API to the node that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.realtime.tickets import take_ticket
from shared.realtime.tokens import BadToken
from shared.redis.batch import Batcher
from tests.support.fakes.gateway_client import Gateway, gateway

KEYS = f"k1:{'s' * 32}"


@pytest.fixture
def made(tmp_path: Path, redis_url: str) -> Iterator[Gateway]:
    with gateway(tmp_path, redis_url=redis_url, socket_token_keys=KEYS) as made:
        yield made


async def test_a_ticket_opens_one_connection(made: Gateway, redis_url: str) -> None:
    answer = made.client.post("/auth/ticket", json={"user_id": "a/b", "channels": ["news.*"], "ttl_s": 60})
    batcher = Batcher(redis_url)

    claims = await take_ticket(batcher, answer.get_json()["ticket"])

    assert (claims.user_id, claims.channels) == ("a/b", ("news.*",))
    with pytest.raises(BadToken):
        await take_ticket(batcher, answer.get_json()["ticket"])
    await batcher.close()


async def test_a_ticket_for_a_token_does_not_outlive_it(made: Gateway, redis_url: str) -> None:
    token = made.tokens.sign("u1", life_s=30)
    own = {"Authorization": f"Bearer {token.text}"}
    answer = made.client.post("/auth/ticket", json={"user_id": "u1", "ttl_s": 86_400}, headers=own)
    batcher = Batcher(redis_url)

    assert (await take_ticket(batcher, answer.get_json()["ticket"])).expires_ms == token.expires_ms
    await batcher.close()


def test_a_refresh_token_gives_the_next_pair_and_a_stolen_one_ends_all(made: Gateway) -> None:
    pairs = [made.client.post("/auth/token", json={"user_id": "u1", "ttl_s": 60}).get_json()]
    for _ in range(2):
        answer = made.client.post("/auth/refresh", json={"refresh_token": pairs[-1]["refresh_token"]})
        assert answer.status_code == 200
        pairs.append(answer.get_json())
    assert made.tokens.verify(pairs[-1]["token"], "u1").channels == ()

    for pair in (pairs[0], pairs[-1]):
        refused = made.client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        assert refused.status_code == 401
        assert [error["field"] for error in refused.get_json()["errors"]] == ["refresh_token"]
