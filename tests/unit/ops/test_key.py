"""Tests that a key is shown once, and that the gateway knows it by its hash."""

import hashlib

import pytest
from click.testing import CliRunner

from ops.key import key
from shared.settings.load import load_settings


def test_the_entry_is_one_that_the_gateway_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(key, ["new", "shop", "--scope", "send+operate"])
    secret, entry = (line.rpartition(" ")[2] for line in result.output.splitlines())
    monkeypatch.setenv("API_KEYS", entry)
    [known] = load_settings(env_file=None).gateway.api_keys
    assert known.client == "shop"
    assert known.scopes == {"send", "operate"}
    assert known.sha256 == hashlib.sha256(secret.encode()).hexdigest()


@pytest.mark.parametrize("arguments", [["shop"], ["shop", "--scope", "all"], ["a:b", "--scope", "send"]])
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(key, ["new", *arguments]).exit_code == 2
