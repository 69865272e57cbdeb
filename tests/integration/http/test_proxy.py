"""Checks calls through an egress proxy: the tunnel, TLS inside it, and a proxy that refuses or is silent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from shared.http.proxy import Proxy
from tests.integration.http.calls import BODY, post
from tests.support.peers.certificates import self_signed, server_context
from tests.support.peers.connect_proxy import ConnectProxy, connect_proxy
from tests.support.peers.raw_http import RawHttp, answer, raw_http

SECRET = "user:a-password"


@pytest.fixture
async def vendor() -> AsyncIterator[RawHttp]:
    async with raw_http(answer(200, {"a": 1})) as server:
        yield server


@pytest.fixture
async def proxy(vendor: RawHttp) -> AsyncIterator[ConnectProxy]:
    async with connect_proxy(vendor.host) as server:
        yield server


async def through(proxy: ConnectProxy, url: str, credentials: str = "") -> int:
    http = HttpClient(connect_timeout_s=0.5, proxy=Proxy("127.0.0.1", proxy.port, credentials))
    await http.open()
    try:
        for _ in range(2):
            response = await post(http, url)
        return response.status
    finally:
        await http.close()


async def test_calls_go_through_one_tunnel_and_the_proxy_resolves_the_name(
    proxy: ConnectProxy, vendor: RawHttp
) -> None:
    assert await through(proxy, "http://vendor.example", SECRET) == 200
    (head,) = proxy.asked
    assert head.startswith("CONNECT vendor.example:80 HTTP/1.1\r\nhost: vendor.example:80\r\n")
    assert f"proxy-authorization: Basic {b64encode(SECRET.encode()).decode()}\r\n" in head
    assert [request.body for request in vendor.requests] == [BODY, BODY]
    assert all("proxy-authorization" not in request.headers for request in vendor.requests)


async def test_tls_runs_inside_the_tunnel_to_the_vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, host="vendor.example", address="192.0.2.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with raw_http(answer(200), tls=server_context(certificate)) as vendor, connect_proxy(vendor.host) as proxy:
        assert await through(proxy, "https://vendor.example") == 200
        assert "CONNECT vendor.example:443 " in proxy.asked[0]
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await through(proxy, "https://other.example")
        assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused the tunnel: 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 1\r\n\r\nx", "refused the tunnel: 502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not answer CONNECT with HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "sent data before any request"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "did not answer CONNECT with HTTP"),
        (b"HTTP/1.1 500", "before its answer to CONNECT was complete"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_named_and_nothing_was_sent(
    proxy: ConnectProxy, vendor: RawHttp, reply: bytes, why: str
) -> None:
    proxy.reply = reply
    with pytest.raises(Unavailable, match=why) as caught:
        await through(proxy, "http://vendor.example", SECRET)
    assert not caught.value.ambiguous
    assert SECRET not in str(caught.value)
    assert vendor.requests == []


async def test_a_silent_proxy_is_given_up_in_time(proxy: ConnectProxy) -> None:
    proxy.reply = b"HTTP/1.1 200 "
    with pytest.raises(Unavailable, match=r"no connection: waited 0\.5 s") as caught:
        await through(proxy, "http://vendor.example")
    assert not caught.value.ambiguous
