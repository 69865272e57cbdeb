"""Tests what stands before Flask: the Hosts that are answered, the path of a proxy, and the headers of every answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import BadSettings
from shared.settings.groups.gateway import ApiKey
from shared.settings.load import load_settings
from tests.support.fakes.gateway_client import Gateway, gateway

KEY = ApiKey(client="shop", scopes=frozenset({"send"}), sha256="0" * 64)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as made:
        yield made


def _status(made: Gateway, host: str) -> int:
    # Twice: the second time the Host may be known.
    statuses = {made.client.get("/health/live", headers={"Host": host}).status_code for _ in range(2)}
    assert len(statuses) == 1
    return statuses.pop()


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5050", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:8080", "[::1]:5050"]
)
def test_without_keys_local_names_are_answered(made: Gateway, host: str) -> None:
    assert _status(made, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:5050", "", "0.0.0.0"),
        *("localhost@evil.example", "localhost:5050:1", "localhost/", "127.1", "[::ffff:127.0.0.1]", "localhost evil"),
    ],
)
def test_without_keys_no_other_host_is_answered(made: Gateway, host: str) -> None:
    assert _status(made, host) == 421


def test_hosts_can_be_added_and_keys_make_every_host_good(tmp_path: Path) -> None:
    with gateway(tmp_path, gateway_open_hosts="gateway, Notify.Internal", gateway_host="192.0.2.7") as named:
        assert [_status(named, host) for host in ("gateway:5050", "notify.internal", "192.0.2.7")] == [200] * 3
        assert _status(named, "other") == 421
    for settings in ({"gateway_open_hosts": "*"}, {"api_keys": (KEY,)}):
        with gateway(tmp_path, **settings) as every:
            assert _status(every, "anything.example") == 200


def test_without_keys_an_address_that_others_reach_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.http.auth import check_keys

    for host in ("0.0.0.0", "::", "192.0.2.7", "gateway.example"):
        with pytest.raises(BadSettings) as refused:
            check_keys(load_settings(env_file=None, gateway_host=host))
        assert refused.value.problems[0][0] == "GATEWAY_HOST"
        check_keys(load_settings(env_file=None, gateway_host=host, gateway_open_hosts="gateway"))
        check_keys(load_settings(env_file=None, gateway_host=host, api_keys=(KEY,)))
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        check_keys(load_settings(env_file=None, gateway_host=host))


@pytest.mark.parametrize(
    ("prefix", "mounted"),
    [
        ("/notify", "/notify"),
        ("/a/b-c.d/", "/a/b-c.d"),
        *(
            (bad, "")
            for bad in ("", "/", "//evil.example", "notify", "/a/../b", "/a\\b", "https://evil.example", "/a,/b")
        ),
        *((bad, "") for bad in ("/%2f%2fevil.example", "/a?b", "/a#b", "/a//b", "/.")),
    ],
)
def test_behind_a_prefix_the_documentation_and_the_redirects_work(made: Gateway, prefix: str, mounted: str) -> None:
    headers = {"X-Forwarded-Prefix": prefix}
    assert made.client.get("/", headers=headers).headers["Location"] == f"{mounted}/apidocs/"
    assert made.client.get("/apidocs", headers=headers).headers["Location"] == f"{mounted}/apidocs/"
    servers = made.client.get("/openapi.json", headers=headers).get_json()["servers"]
    assert servers == [{"url": mounted or "/"}]


def test_only_a_trusted_proxy_is_believed(tmp_path: Path) -> None:
    def location(made: Gateway, peer: str) -> str:
        headers = {"X-Forwarded-Prefix": "/notify"}
        return made.client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": peer}).headers["Location"]

    with gateway(tmp_path, trusted_proxies="10.0.0.0/8, 2001:db8::/32") as made:
        for peer in ("10.1.2.3", "2001:db8::5", "::ffff:10.1.2.3"):
            assert location(made, peer) == "/notify/apidocs/"
        for peer in ("127.0.0.1", "11.0.0.1", "2001:db9::1", "", "unix"):
            assert location(made, peer) == "/apidocs/"
    with pytest.raises(BadSettings, match="TRUSTED_PROXIES"):
        load_settings(env_file=None, trusted_proxies="proxy.example")


def test_every_answer_forbids_sniffing_and_those_that_can_hold_addresses_forbid_storing(made: Gateway) -> None:
    for method, path in [
        *(
            ("GET", path)
            for path in ("/", "/health", "/metrics", "/openapi.json", "/failed/x/y", "/nowhere", "/apidocs")
        ),
        *(("POST", path) for path in ("/notifications", "/notifications/batch", "/failed/replay", "/health")),
        *(("OPTIONS", "/notifications"), ("HEAD", "/health/live")),
    ]:
        answer = made.client.open(path, method=method)
        assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"], path
        assert answer.headers.getlist("Cache-Control") == ["no-store"], path
    for path in ("/apidocs/", "/apidocs/swagger-ui.css"):
        with made.client.get(path) as file:
            assert file.headers["X-Content-Type-Options"] == "nosniff"
            assert "no-store" not in file.headers["Cache-Control"]
    refused = made.client.get("/health", headers={"Host": "evil.example"})
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
