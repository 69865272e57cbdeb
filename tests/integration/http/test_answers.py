"""Checks every form of answer that HTTP/1.1 allows, invalid answers, and whether the connection is used again."""

import pytest

from shared.http.client import HttpClient
from shared.http.connection import MAX_ANSWER_BYTES
from tests.integration.http.calls import fails_ambiguously, post
from tests.support.peers.raw_http import Act, answer, close, raw_http, reset, say
from tests.support.waiting import eventually_async

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TOO_MUCH = b"x" * (MAX_ANSWER_BYTES + 1)


def then(*acts: Act) -> Act:
    async def act(writer: object) -> None:
        for one in acts:
            await one(writer)  # type: ignore[arg-type]

    return act


KEPT = {
    "chunked": (say(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), 200, b"onetwo"),
    "chunk by chunk": (say(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"), 200, b"onetwo"),
    "with trailers": (say(CHUNKED + b"3\r\none\r\n0\r\nretry-after: 9\r\n\r\n"), 200, b"one"),
    "no content": (say(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, b""),
    "not modified": (say(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n"), 304, b""),
    "after interim ones": (
        say(
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nretry-after: 5\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
        ),
        201,
        b"ok",
    ),
    "http/1.0 that says so": (
        say(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
        200,
        b"ok",
    ),
    "offers an upgrade": (
        say(b"HTTP/1.1 200 OK\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok"),
        200,
        b"ok",
    ),
    "byte by byte": (
        say(*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
        200,
        b"ok",
    ),
    "as long as allowed": (
        say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000),
        200,
        b"x" * 1_000_000,
    ),
}


@pytest.mark.parametrize(("act", "status", "body"), KEPT.values(), ids=KEPT)
async def test_an_answer_is_read_and_the_connection_serves_again(
    client: HttpClient, act: Act, status: int, body: bytes
) -> None:
    async with raw_http(act, answer(202)) as vendor:
        response = await post(client, vendor.url)
        assert (response.status, response.body, response.retry_after_s) == (status, body, None)
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 1


CLOSED = {
    "http/1.0": then(say(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    "connection: close": then(say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")),
    "as long as the stream": then(say(b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k"), close),
    "http/1.0, as long as the stream": then(say(b"HTTP/1.0 200 OK\r\n\r\nok"), close),
    "an unknown coding, as long as the stream": then(
        say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: x-own\r\n\r\nok"), close
    ),
    "a second answer behind it": then(
        say(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            b"HTTP/1.1 500 Late\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nlate"
        )
    ),
    "the beginning of a second answer behind it": then(
        say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Late\r\nretry-after: 9\r\n")
    ),
    "rubbish behind it": then(say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{}")),
}


@pytest.mark.parametrize("act", CLOSED.values(), ids=CLOSED)
async def test_an_answer_is_read_and_the_connection_is_never_used_again(client: HttpClient, act: Act) -> None:
    async with raw_http(act, answer(202)) as vendor:
        response = await post(client, vendor.url)
        assert (response.status, response.body, response.retry_after_s) == (200, b"ok", None)
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 2
        await eventually_async(lambda: vendor.ended == 1)


NONE = {
    "two lengths": say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!"),
    "length and chunks": say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok"),
    "a chunk of no length": say(CHUNKED + b"x\r\n"),
    "another protocol": say(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
    "too long": say(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n", TOO_MUCH),
    "chunks without end": say(CHUNKED + b"fffffff\r\n", TOO_MUCH),
    "a head without end": say(b"HTTP/1.1 200 OK\r\na: ", TOO_MUCH),
    "interim answers without end": say(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50_000),
    "cut in the head": then(say(b"HTTP/1.1 200 OK\r\ncontent-le"), close),
    "cut in the head of one that has no length": then(say(b"HTTP/1.1 200 OK\r\n"), close),
    "cut in a chunk": then(say(CHUNKED + b"9\r\none"), close),
    "cut between chunks": then(say(CHUNKED + b"3\r\none\r\n"), close),
    "cut after an interim one": then(say(b"HTTP/1.1 100 Continue\r\n\r\n"), close),
    "reset where only an end was due": then(say(b"HTTP/1.1 200 OK\r\n\r\n", b"ok"), reset),
}


@pytest.mark.parametrize("act", NONE.values(), ids=NONE)
async def test_what_is_no_whole_answer_is_ambiguous_and_asked_once(client: HttpClient, act: Act) -> None:
    async with raw_http(act, answer(202)) as vendor:
        assert await fails_ambiguously(client, vendor.url)
        assert len(vendor.requests) == 1
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 2


async def test_the_limit_is_one_of_each_answer(client: HttpClient) -> None:
    most = b"x" * (MAX_ANSWER_BYTES * 3 // 4)
    async with raw_http(say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(most), most)) as vendor:
        for _ in range(3):
            assert (await post(client, vendor.url)).body == most
        assert vendor.connections == 1


@pytest.mark.parametrize("act", [close, reset], ids=lambda act: act.__name__)
async def test_the_end_of_a_kept_connection_is_no_answer_to_the_request_on_it(client: HttpClient, act: Act) -> None:
    """Checks that nothing of the earlier, complete answer is left that the end of the connection could complete."""
    async with raw_http(answer(200, b"first"), act, answer(200)) as vendor:
        await post(client, vendor.url)
        assert await fails_ambiguously(client, vendor.url)
        assert [request.connection for request in vendor.requests] == [1, 1]
