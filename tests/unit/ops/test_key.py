"""Tests that a key is shown once, and that the gateway knows it by its hash."""

import hashlib

import pytest
from click.testing import CliRunner

from ops.key import key
from shared.realtime.tokens import Tokens
from shared.settings.load import load_settings


def test_the_entry_is_one_that_the_gateway_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(key, ["new", "shop", "--scope", "send+operate"])
    secret, entry = (line.rpartition(" ")[2] for line in result.output.splitlines())
    monkeypatch.setenv("API_KEYS", entry)
    [known] = load_settings(env_file=None).gateway.api_keys
    assert known.client == "shop"
    assert known.scopes == {"send", "operate"}
    assert known.sha256 == hashlib.sha256(secret.encode()).hexdigest()


def test_a_key_may_have_the_scope_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(key, ["new", "backend", "--scope", "send+operate+tokens"])
    monkeypatch.setenv("API_KEYS", result.output.split()[-1])
    [known] = load_settings(env_file=None).gateway.api_keys
    assert known.scopes == {"send", "operate", "tokens"}


def test_a_signing_key_is_one_that_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [CliRunner().invoke(key, ["signing", name]).output.split()[-1] for name in ("new", "old")]
    monkeypatch.setenv("SOCKET_TOKEN_KEYS", ",".join(made))
    tokens = Tokens(load_settings(env_file=None).sockets.token_keys)
    assert tokens.verify(tokens.sign("u1").text).user_id == "u1"
    assert CliRunner().invoke(key, ["signing", "a:b"]).exit_code == 2


@pytest.mark.parametrize("arguments", [["shop"], ["shop", "--scope", "all"], ["a:b", "--scope", "send"]])
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(key, ["new", *arguments]).exit_code == 2
