"""Checks shared/http/client.py with a server of plain sockets: one request per attempt, and what "ambiguous" means."""

import asyncio
import socket
import time

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from tests.integration.http.calls import BODY, fails_ambiguously, full_backlog, post
from tests.support.opened import opened
from tests.support.peers.raw_http import (
    Act,
    answer,
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


@pytest.mark.parametrize("act", [reset, close, cut_in_the_body, babble, hang], ids=lambda act: act.__name__)
async def test_a_cut_after_the_request_was_written_is_ambiguous_and_asked_once(client: HttpClient, act: Act) -> None:
    async with raw_http(act) as vendor:
        assert await fails_ambiguously(client, vendor.url, timeout_s=0.3 if act is hang else 5)
        assert len(vendor.requests) == 1


async def test_a_refused_connection_is_not_ambiguous(client: HttpClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not await fails_ambiguously(client, f"http://127.0.0.1:{unused.getsockname()[1]}")


async def test_a_name_that_does_not_resolve_is_not_ambiguous(client: HttpClient) -> None:
    with pytest.raises(Unavailable) as caught:
        await post(client, "http://vendor.invalid")
    assert not caught.value.ambiguous
    assert "vendor.invalid" not in str(caught.value)


async def test_a_connection_that_never_opens_is_not_ambiguous(client: HttpClient) -> None:
    began = time.monotonic()
    with full_backlog() as (_, port):
        assert not await fails_ambiguously(client, f"http://127.0.0.1:{port}")
    assert time.monotonic() - began < 3


async def test_connecting_takes_no_longer_than_the_whole_call_may() -> None:
    began = time.monotonic()
    async with opened(HttpClient(connect_timeout_s=30)) as http:
        with full_backlog() as (_, port):
            assert not await fails_ambiguously(http, f"http://127.0.0.1:{port}", timeout_s=0.1)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 503])
async def test_a_redirect_is_not_followed_and_a_failure_not_repeated(client: HttpClient, status: int) -> None:
    async with raw_http(answer(status, b"", {"Location": "/elsewhere", "Retry-After": "1"})) as vendor:
        response = await post(client, vendor.url)
        assert response.status == status
        assert [request.path for request in vendor.requests] == ["/x"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_http(answer(502)) as proxy, raw_http(answer(200)) as vendor:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with opened(HttpClient()) as http:
            response = await post(http, vendor.url)
        assert (response.status, len(proxy.requests), len(vendor.requests)) == (200, 0, 1)


async def test_a_hundred_at_once_do_not_mix_their_answers() -> None:
    # A hundred connections at once may take a busy machine longer than the other tests' client waits.
    async with raw_http(answer(200, {"ok": True})) as vendor, opened(HttpClient(connect_timeout_s=10)) as client:
        answers = await asyncio.gather(*(post(client, vendor.url) for _ in range(100)))
        assert {a.status for a in answers} == {200}
        assert len(vendor.requests) == 100
