"""Tests API keys: which requests are admitted, and with which sets of keys the gateway refuses to start."""

import hashlib
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from gateway.http.auth import ANONYMOUS, Keyring, check_keys
from gateway.http.problem import Problem
from shared.errors import BadSettings
from shared.settings.groups.gateway import ApiKey
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
