"""Checks shared/http/client.py with a server of plain sockets: one request per attempt, and what "ambiguous" means."""

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from tests.integration.http.calls import BODY, full_backlog, post
from tests.support.peers.certificates import self_signed
from tests.support.peers.raw_http import (
    Act,
    answer,
    answer_then_close,
    babble,
    close,
    cut_in_the_body,
    hang,
    raw_http,
    reset,
)


async def test_an_answer_comes_whole_and_its_headers_ignore_case(client: HttpClient) -> None:
    async with raw_http(answer(201, {"a": 1}, {"Retry-After": "7"})) as vendor:
        response = await post(client, vendor.url)
    assert (response.status, response.json_object(), response.retry_after_s) == (201, {"a": 1}, 7.0)
    assert vendor.requests[0].body == BODY


@pytest.mark.parametrize("act", [reset, close, cut_in_the_body, babble], ids=lambda act: act.__name__)
async def test_a_cut_after_the_request_was_written_is_ambiguous_and_asked_once(client: HttpClient, act: Act) -> None:
    async with raw_http(act) as vendor:
        with pytest.raises(Unavailable) as caught:
            await post(client, vendor.url)
        assert caught.value.ambiguous
        assert len(vendor.requests) == 1


async def test_a_timeout_is_ambiguous_and_asked_once(client: HttpClient) -> None:
    async with raw_http(hang) as vendor:
        with pytest.raises(Unavailable) as caught:
            await post(client, vendor.url, timeout_s=0.3)
        assert caught.value.ambiguous
        assert len(vendor.requests) == 1


async def test_a_refused_connection_is_not_ambiguous(client: HttpClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as caught:
            await post(client, f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert not caught.value.ambiguous


async def test_a_name_that_does_not_resolve_is_not_ambiguous(client: HttpClient) -> None:
    with pytest.raises(Unavailable) as caught:
        await post(client, "http://vendor.invalid")
    assert not caught.value.ambiguous
    assert "vendor.invalid" not in str(caught.value)


async def test_a_connection_that_never_opens_is_not_ambiguous(client: HttpClient) -> None:
    began = time.monotonic()
    with full_backlog() as (_, port), pytest.raises(Unavailable) as caught:
        await post(client, f"http://127.0.0.1:{port}")
    assert not caught.value.ambiguous
    assert time.monotonic() - began < 3


async def test_connecting_takes_no_longer_than_the_whole_call_may() -> None:
    http = HttpClient(connect_timeout_s=30)
    await http.open()
    began = time.monotonic()
    with full_backlog() as (_, port), pytest.raises(Unavailable) as caught:
        await post(http, f"http://127.0.0.1:{port}", timeout_s=0.1)
    assert not caught.value.ambiguous
    assert time.monotonic() - began < 3
    await http.close()


async def test_a_certificate_of_nobody_is_refused_before_anything_is_sent(client: HttpClient, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    async with raw_http(answer(200), tls=context) as vendor:
        with pytest.raises(Unavailable) as caught:
            await post(client, vendor.url)
        assert not caught.value.ambiguous
        assert vendor.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(client: HttpClient, status: int) -> None:
    async with raw_http(answer(status, b"", {"Location": "/elsewhere"})) as vendor:
        response = await post(client, vendor.url)
        assert response.status == status
        assert [request.path for request in vendor.requests] == ["/x"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_http(answer(502)) as proxy, raw_http(answer(200)) as vendor:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        http = HttpClient()
        await http.open()
        response = await post(http, vendor.url)
        await http.close()
        assert (response.status, len(proxy.requests), len(vendor.requests)) == (200, 0, 1)


async def test_a_503_is_an_answer_and_is_not_repeated(client: HttpClient) -> None:
    async with raw_http(answer(503, b"", {"Retry-After": "1"})) as vendor:
        assert (await post(client, vendor.url)).status == 503
        assert len(vendor.requests) == 1


async def test_connections_are_kept_and_used_again(client: HttpClient) -> None:
    async with raw_http(answer(200)) as vendor:
        for _ in range(5):
            await post(client, vendor.url)
        assert (len(vendor.requests), vendor.connections) == (5, 1)


async def test_a_connection_closed_while_idle_costs_nothing(client: HttpClient) -> None:
    async with raw_http(answer_then_close(200, {"ok": True})) as vendor:
        for _ in range(20):
            assert (await post(client, vendor.url)).status == 200
        assert len(vendor.requests) == 20


async def test_a_kept_connection_that_is_reset_under_the_request_is_not_asked_twice(client: HttpClient) -> None:
    async with raw_http(answer(200), reset, answer(200)) as vendor:
        await post(client, vendor.url)
        with pytest.raises(Unavailable) as caught:
            await post(client, vendor.url)
        assert caught.value.ambiguous
        assert len(vendor.requests) == 2


async def test_a_hundred_at_once_do_not_mix_their_answers(client: HttpClient) -> None:
    async with raw_http(answer(200, {"ok": True})) as vendor:
        answers = await asyncio.gather(*(post(client, vendor.url) for _ in range(100)))
        assert {a.status for a in answers} == {200}
        assert len(vendor.requests) == 100
