"""Checks against a real Redis that a refresh token is good once, and that a stolen one ends its whole family."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from pydantic import SecretStr

from shared.errors import RedisUnavailable
from shared.realtime.refresh import REPEAT_MS, Pairs, TokenRevoked
from shared.realtime.tokens import REFRESH_LIFE_S, BadToken, NoTokenKeys, Tokens
from shared.redis.client import sync_client
from shared.settings.groups.sockets import TokenKey

TOKENS = Tokens([TokenKey(kid="k", secret=SecretStr("s" * 32))])


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return sync_client(redis_url)


@pytest.fixture
def pairs(client: redis.Redis) -> Pairs:
    return Pairs(TOKENS, client)


def let_time_pass(client: redis.Redis) -> None:
    """Makes every exchange so old that a repeat of it is no repeat any more."""
    for key in client.keys("notify-refresh:*"):
        client.hincrby(key, "replaced_ms", -REPEAT_MS - 1)


def number(refresh_token: str) -> int:
    return TOKENS.verify_refresh(refresh_token).number


def test_a_pair_is_made_without_redis() -> None:
    pair = Pairs(TOKENS, sync_client("redis://127.0.0.1:1/0")).make("u1", ["news.*"], 60)

    assert TOKENS.verify(pair.token.text).channels == ("news.*",)
    assert number(pair.refresh_token.text) == 0


def test_each_exchange_gives_the_next_pair_with_the_same_rights(client: redis.Redis, pairs: Pairs) -> None:
    pair = pairs.make("u1", ["news.*"], 60)
    for expected in (1, 2, 3):
        let_time_pass(client)
        pair = pairs.exchange(pair.refresh_token.text)
        claims = TOKENS.verify(pair.token.text)

        assert number(pair.refresh_token.text) == expected
        assert (claims.user_id, claims.channels) == ("u1", ("news.*",))
        assert pair.token.expires_ms < pair.refresh_token.expires_ms - (REFRESH_LIFE_S - 120) * 1000


def test_an_answer_that_was_lost_may_be_asked_for_again(pairs: Pairs) -> None:
    first = pairs.make("u1")

    again = [pairs.exchange(first.refresh_token.text) for _ in range(3)]

    assert [number(pair.refresh_token.text) for pair in again] == [1, 1, 1]
    assert number(pairs.exchange(again[0].refresh_token.text).refresh_token.text) == 2


def test_one_that_comes_back_later_ends_the_whole_family(client: redis.Redis, pairs: Pairs) -> None:
    stolen = pairs.make("u1").refresh_token.text
    owners = pairs.exchange(stolen).refresh_token.text
    let_time_pass(client)

    for token in (stolen, owners, stolen):
        with pytest.raises(TokenRevoked) as caught:
            pairs.exchange(token)
        assert caught.value.close.code == 4506


def test_two_behind_is_theft_at_once(pairs: Pairs) -> None:
    first = pairs.make("u1").refresh_token.text
    third = pairs.exchange(pairs.exchange(first).refresh_token.text).refresh_token.text

    with pytest.raises(TokenRevoked):
        pairs.exchange(first)
    with pytest.raises(TokenRevoked):
        pairs.exchange(third)


def test_another_family_of_the_same_user_goes_on(client: redis.Redis, pairs: Pairs) -> None:
    phone, laptop = pairs.make("u1").refresh_token.text, pairs.make("u1").refresh_token.text
    pairs.exchange(phone)
    let_time_pass(client)
    with pytest.raises(TokenRevoked):
        pairs.exchange(phone)

    assert number(pairs.exchange(laptop).refresh_token.text) == 1


def test_many_at_once_get_the_same_number(pairs: Pairs) -> None:
    token = pairs.make("u1").refresh_token.text
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: number(pairs.exchange(token).refresh_token.text), range(16)))

    assert numbers == [1] * 16


def test_a_lost_record_ends_a_family_that_was_in_use(client: redis.Redis, pairs: Pairs) -> None:
    unused, used = pairs.make("u1").refresh_token.text, pairs.exchange(pairs.make("u1").refresh_token.text)
    client.flushdb()

    with pytest.raises(BadToken, match="nothing is known"):
        pairs.exchange(used.refresh_token.text)
    assert number(pairs.exchange(unused).refresh_token.text) == 1


def test_its_record_outlives_the_last_token(client: redis.Redis, pairs: Pairs) -> None:
    pairs.exchange(pairs.make("u1").refresh_token.text)
    (key,) = client.keys("notify-refresh:*")

    assert client.ttl(key) > REFRESH_LIFE_S


def test_without_redis_nothing_is_exchanged() -> None:
    pairs = Pairs(TOKENS, sync_client("redis://127.0.0.1:1/0"))

    with pytest.raises(RedisUnavailable):
        pairs.exchange(pairs.make("u1").refresh_token.text)


@pytest.mark.parametrize("token", ["", "x", TOKENS.sign("u1").text])
def test_anything_else_is_refused(token: str, pairs: Pairs) -> None:
    with pytest.raises(BadToken):
        pairs.exchange(token)


def test_without_keys_no_pair_is_made(client: redis.Redis) -> None:
    with pytest.raises(NoTokenKeys):
        Pairs(Tokens([]), client).make("u1")
