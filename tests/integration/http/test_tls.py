"""Checks HTTPS: which certificates are accepted, what the handshake says, and which failures are ambiguous."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from tests.integration.http.calls import BODY, fails_ambiguously, post
from tests.support.opened import opened
from tests.support.peers.certificates import self_signed, server_context
from tests.support.peers.listening import listening
from tests.support.peers.raw_http import Act, answer, close, cut_in_the_body, raw_http, reset, say


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Returns a certificate for localhost and 127.0.0.1."""
    return self_signed(tmp_path)


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = server_context(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
async def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpClient]:
    """Returns a client whose system trusts the private authority, and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with opened(HttpClient()) as http:
        yield http


async def test_a_known_authority_is_trusted_and_the_connection_kept(
    trusting: HttpClient, server_tls: ssl.SSLContext
) -> None:
    async with raw_http(answer(201, {"a": 1}), tls=server_tls) as vendor:
        for _ in range(3):
            response = await post(trusting, vendor.url)
            assert (response.status, response.json_object()) == (201, {"a": 1})
        assert (vendor.connections, vendor.requests[2].body) == (1, BODY)


async def test_the_handshake_names_the_host_and_asks_for_http_1(
    trusting: HttpClient, server_tls: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    protocols: list[str | None] = []
    server_tls.sni_callback = lambda connection, name, context: names.append(name)

    async def look(writer: asyncio.StreamWriter) -> None:
        protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answer(200)(writer)

    async with raw_http(look, tls=server_tls) as vendor:
        await post(trusting, vendor.url.replace("127.0.0.1", "localhost"))
    assert (names, protocols) == (["localhost"], ["http/1.1"])


async def test_a_certificate_of_nobody_is_refused_before_anything_is_sent(
    client: HttpClient, server_tls: ssl.SSLContext
) -> None:
    async with raw_http(answer(200), tls=server_tls) as vendor:
        assert not await fails_ambiguously(client, vendor.url)
        assert vendor.requests == []


async def test_another_hosts_certificate_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, host="vendor.example", address="192.0.2.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with opened(HttpClient()) as http, raw_http(answer(200), tls=server_context(certificate)) as vendor:
        with pytest.raises(Unavailable, match="certificate verify failed") as caught:
            await post(http, vendor.url)
        assert not caught.value.ambiguous
        assert vendor.requests == []


@pytest.mark.parametrize("greeting", [b"220 mail.example.com ESMTP\r\n", b"", None], ids=["babble", "end", "silence"])
async def test_a_server_that_speaks_no_tls_is_not_ambiguous(client: HttpClient, greeting: bytes | None) -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is None:
            await reader.read()
        else:
            writer.write(greeting)
        writer.close()
        over.set()

    async with listening(serve) as port:
        assert not await fails_ambiguously(client, f"https://127.0.0.1:{port}")
        await over.wait()


@pytest.mark.parametrize("act", [reset, close, cut_in_the_body], ids=lambda act: act.__name__)
async def test_a_cut_after_the_handshake_is_ambiguous_and_asked_once(
    trusting: HttpClient, server_tls: ssl.SSLContext, act: Act
) -> None:
    async with raw_http(act, tls=server_tls) as vendor:
        assert await fails_ambiguously(trusting, vendor.url)
        assert len(vendor.requests) == 1


async def test_an_answer_as_long_as_the_stream_is_whole_when_tls_says_goodbye(
    trusting: HttpClient, server_tls: ssl.SSLContext
) -> None:
    async def say_and_close(writer: asyncio.StreamWriter) -> None:
        await say(b"HTTP/1.1 200 OK\r\n\r\nall")(writer)
        await close(writer)

    async with raw_http(say_and_close, tls=server_tls) as vendor:
        assert (await post(trusting, vendor.url)).body == b"all"
