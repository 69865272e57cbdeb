"""Tests API keys and users' tokens: who is admitted, and with which sets of keys the gateway refuses to start."""

import hashlib
from typing import Any

import pytest
from pydantic import SecretStr
from werkzeug.datastructures import Headers

from gateway.http.auth import ANONYMOUS, Keyring, check_keys
from gateway.http.problem import Problem
from shared.errors import BadSettings
from shared.realtime.tokens import Tokens
from shared.settings.groups.gateway import ApiKey
from shared.settings.groups.sockets import TokenKey
from shared.settings.load import load_settings


def key(client: str, text: str, *scopes: str) -> ApiKey:
    return ApiKey(
        client=client, scopes=frozenset(scopes or ("send",)), sha256=hashlib.sha256(text.encode()).hexdigest()
    )


SHOP_OLD, SHOP_NEW, OPERATOR = "shop-old", "shop-new", "operator-one"
KEYRING = Keyring([key("shop", SHOP_OLD), key("shop", SHOP_NEW), key("ops", OPERATOR, "operate", "send")])


@pytest.mark.parametrize("text", [SHOP_OLD, SHOP_NEW])
def test_two_keys_of_a_client_are_both_let_in(text: str) -> None:
    assert KEYRING.client(Headers({"Authorization": f"Bearer {text}"}), "send") == "shop"
    assert KEYRING.client(Headers({"X-API-Key": text}), "send") == "shop"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {SHOP_OLD}"},
        {"Authorization": SHOP_OLD},
        {"X-API-Key": ""},
        {"X-API-Key": "\xfc"},
        {"X-API-Key": hashlib.sha256(SHOP_OLD.encode()).hexdigest()},
    ],
)
def test_without_a_known_key_it_is_401_and_says_how(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        KEYRING.client(Headers(headers), "send")
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_without_the_scope_is_403() -> None:
    with pytest.raises(Problem) as refused:
        KEYRING.client(Headers({"X-API-Key": SHOP_NEW}), "operate")
    assert refused.value.status == 403
    assert KEYRING.client(Headers({"X-API-Key": OPERATOR}), "operate") == "ops"


def test_without_keys_development_asks_for_none() -> None:
    assert Keyring([]).client(Headers(), "send") == ANONYMOUS


def _check(**overrides: Any) -> None:
    check_keys(load_settings(env_file=None, **overrides))


def test_production_does_not_start_without_keys() -> None:
    with pytest.raises(BadSettings, match="API_KEYS"):
        _check(notify_env="production")
    _check(notify_env="production", api_keys=(key("shop", SHOP_OLD),))
    _check()


def test_a_third_live_key_of_a_client_is_refused() -> None:
    two = (key("shop", "one"), key("shop", "two"))
    _check(api_keys=two)
    with pytest.raises(BadSettings, match="shop has 3 keys"):
        _check(api_keys=(*two, key("shop", "three")))


def test_the_name_of_callers_without_a_key_is_reserved() -> None:
    settings = load_settings(env_file=None, api_keys=(key(ANONYMOUS, "secret"),))
    with pytest.raises(BadSettings, match="API_KEYS: the client name anonymous is reserved"):
        check_keys(settings)


TOKENS = Tokens([TokenKey(kid="k", secret=SecretStr("s" * 32))])
USERS = Keyring([key("ops", OPERATOR, "operate"), key("shop", SHOP_NEW)], TOKENS)


def bearer(credential: str) -> Headers:
    return Headers({"Authorization": f"Bearer {credential}"})


def test_a_users_token_is_admitted_for_that_user_only() -> None:
    caller = USERS.caller(bearer(TOKENS.sign("u1", ["news.*"]).text), "operate")
    assert caller.claims is not None
    assert (caller.claims.user_id, caller.claims.channels) == ("u1", ("news.*",))
    caller.check_user("u1")
    with pytest.raises(Problem) as refused:
        caller.check_user("u2")
    assert refused.value.status == 403
    assert refused.value.errors == (("user_id", "is not the token's user"),)


def test_the_log_does_not_name_the_user_of_a_token() -> None:
    assert "u1" not in USERS.caller(bearer(TOKENS.sign("u1").text), "operate").name


def test_a_key_with_the_scope_may_act_for_everybody() -> None:
    for headers in (bearer(OPERATOR), Headers({"X-API-Key": OPERATOR})):
        caller = USERS.caller(headers, "operate")
        assert (caller.name, caller.claims) == ("ops", None)
        caller.check_user("anybody")


def test_where_users_may_call_a_key_still_needs_the_scope() -> None:
    with pytest.raises(Problem) as refused:
        USERS.caller(bearer(SHOP_NEW), "operate")
    assert refused.value.status == 403
    with pytest.raises(Problem) as refused:
        USERS.caller(Headers(), "operate")
    assert refused.value.status == 401


def test_a_token_that_is_not_valid_is_401_also_where_no_key_is_needed() -> None:
    foreign = Tokens([TokenKey(kid="k", secret=SecretStr("x" * 32))]).sign("u1").text
    for keyring in (USERS, Keyring([], TOKENS), Keyring([])):
        with pytest.raises(Problem) as refused:
            keyring.caller(bearer(foreign), "operate")
        assert refused.value.status == 401
        assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]


def test_without_keys_a_caller_with_a_token_acts_as_its_user() -> None:
    assert Keyring([], TOKENS).caller(Headers(), "operate").name == ANONYMOUS
    with pytest.raises(Problem):
        Keyring([], TOKENS).caller(bearer(TOKENS.sign("u1").text), "operate").check_user("u2")


def test_a_token_is_no_key() -> None:
    with pytest.raises(Problem) as refused:
        USERS.client(bearer(TOKENS.sign("u1").text), "send")
    assert refused.value.status == 401


def test_an_optional_key_may_be_absent_but_not_wrong() -> None:
    assert USERS.optional_client(Headers(), "operate") == ANONYMOUS
    assert USERS.optional_client(bearer(TOKENS.sign("u1").text), "operate") == ANONYMOUS
    assert USERS.optional_client(bearer(OPERATOR), "operate") == "ops"
    for headers, status in ((bearer("nobody"), 401), (Headers({"X-API-Key": SHOP_NEW}), 403)):
        with pytest.raises(Problem) as refused:
            USERS.optional_client(headers, "operate")
        assert refused.value.status == status
