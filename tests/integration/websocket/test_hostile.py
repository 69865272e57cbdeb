"""Sends a node what no device sends: each gets its documented answer, no error is in the log, and nothing is left."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import jwt
import orjson
import pytest
import structlog
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from services.websocket.session import Session
from services.websocket.transport import front
from services.websocket.transport.lingering import Lingering
from services.websocket.transport.socket import Socket
from shared import clock
from tests.support.realtime.stage import KEY, Device, Stage, get, serving, token
from tests.support.stores import Databases
from tests.support.waiting import eventually_async

PATIENCE_S = 10.0
UPGRADE = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEYED = UPGRADE + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.fixture(autouse=True)
async def nothing_is_wrong() -> AsyncIterator[None]:
    """Checks that no exception reaches the loop, and that nothing is logged as an error."""
    wrong: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield
    assert wrong == []
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []


def head(target: str = "/ws", headers: str = KEYED, line: str = "GET {} HTTP/1.1") -> bytes:
    return f"{line.format(target)}\r\n{headers}\r\n".encode("latin-1")


@asynccontextmanager
async def raw(stage: Stage, *sent: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.node.port)
    try:
        for data in sent:
            writer.write(data)
            await writer.drain()
        yield reader, writer
    finally:
        writer.close()


async def answer(stage: Stage, *sent: bytes) -> bytes:
    """Returns everything that comes until the node ends the connection."""
    async with raw(stage, *sent) as (reader, _), asyncio.timeout(PATIENCE_S):
        return await reader.read()


def code_in(received: bytes) -> int | None:
    """Returns the code of the close frame that ends what a node has sent over an open socket."""
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.receive_data(received.partition(b"\r\n\r\n")[2])
    return None if client.close_rcvd is None else client.close_rcvd.code


async def serves(stage: Stage) -> None:
    """Checks that everybody else is served as ever."""
    await stage.add("good")
    device = await stage.live(user="good")
    await stage.add("good")
    assert (await device.frame_of("notification"))["notification"]["title"]
    await device.connection.close()


async def nothing_is_left(stage: Stage) -> None:
    """Checks that the node remembers nothing of connections that have ended."""

    def left() -> list[object]:
        gc.collect()
        kinds = (Socket, Session, Lingering, front._Head)
        return [one for one in gc.get_objects() if isinstance(one, kinds)]

    await eventually_async(lambda: not left())
    assert (stage.node._parts.connections, stage.node._parts.closing, stage.node._front._heads) == ({}, set(), set())
    assert stage.node.hub.owners == []
    assert not stage.node.hub._first_loads


# -- Before the connection is open -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(line="GET {} HTTP/1.0"), 505),
        (head(line="GET {} HTTP/2.0"), 400),
        (head(line="POST {} HTTP/1.1"), 405),
        (head(line="{}"), 400),
        (head(headers=KEYED + "Content-Length: 5\r\n") + b"hello", 400),
        (head(headers=KEYED + "Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n", 400),
        (head(headers=UPGRADE), 400),
        (head(headers=UPGRADE + "Sec-WebSocket-Key: short\r\n"), 400),
        (head(headers=KEYED.replace("13", "8")), 400),
        (head(headers=KEYED.replace("Connection: Upgrade", "Connection: close")), 426),
        (head("//["), 404),
        (head("http://[/ws"), 404),
        (head("/ws/\xe9"), 400),
        (head("/ws/a/b"), 404),
        (head(headers=KEYED + "X: y\r\n" * 200), 400),
        (head(headers=KEYED + "no colon\r\n"), 400),
        (head(headers=KEYED + "Origin: http://localhost\r\nOrigin: http://localhost\r\n"), 403),
        (head(headers="Host: x\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n"), 426),
        (head("/poll", "Host: x\r\n", "PATCH {} HTTP/1.1"), 405),
        (head("/poll", "Host: x\r\n", "BREW {} HTTP/1.1"), 400),
        (head("/poll", "Host: x\r\n", "\x16\x03\x01{} HTTP/1.1"), 400),
        (head("http://[/poll", "Host: x\r\n"), 400),
        (head("/poll?user_id=%FF%00&wait=%FF", "Host: x\r\n"), 422),
        (head("/poll", "Host: x\r\n" + "Cookie: a=b\r\n" * 50), 401),
        (head("/poll", "Host: x\r\n" * 2), 400),
        (head("/poll", "Host: x\r\nContent-Length: 9999999999\r\n", "POST {} HTTP/1.1") + b"x" * 100_000, 405),
        (b"GET /ws HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"\x00" * 20_000, 431),
    ],
)
async def test_a_request_that_is_none_is_refused(sent: bytes, status: int, stage: Stage) -> None:
    received = await answer(stage, sent)
    assert stage.sample("notify_connections_refused_total", status=str(status)) == 1
    assert received[:8] in (b"HTTP/1.1", b"HTTP/1.0")
    assert received[9:12] == b"%d" % status, received[:200]
    await serves(stage)
    await nothing_is_left(stage)


async def test_refusals_are_counted(stage: Stage) -> None:
    await answer(stage, head("/nothing"))
    await answer(stage, head("/poll", "Host: x\r\n"))
    await answer(stage, head(headers=UPGRADE))
    for status in ("404", "401", "400"):
        assert stage.sample("notify_connections_refused_total", status=status) == 1


async def test_a_head_may_come_byte_by_byte_with_the_first_frame_behind_it(stage: Stage) -> None:
    client = Protocol(CLIENT, state=OPEN)
    client.send_text(orjson.dumps({"type": "auth", "token": token("ann")}))
    sent = head() + b"".join(client.data_to_send())
    async with raw(stage, *(sent[at : at + 1] for at in range(len(sent)))) as (reader, _):
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            while b"missed_notifications" not in received:
                received += await reader.read(65_536)
    assert received.startswith(b"HTTP/1.1 101 ")


async def test_no_cookie_says_who_it_is(stage: Stage) -> None:
    cookies = "".join(f"Cookie: token={token('ann')}; session{number}=x\r\n" for number in range(20))
    object.__setattr__(stage.node._parts, "auth_s", 0.1)
    assert code_in(await answer(stage, head(headers=KEYED + cookies))) == 4504


async def test_connections_without_a_head_cannot_use_up_the_files(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.node._front, "_most", 20)
    monkeypatch.setattr(front, "_SPARE", 10)
    idle = [await asyncio.open_connection("127.0.0.1", stage.node.port) for _ in range(40)]
    await eventually_async(lambda: stage.sample("notify_connections_refused_total", status="503") == 10)
    assert len(stage.node._front._heads) == 30
    # Those that can be told are told.
    idle[0][1].write(head())
    async with asyncio.timeout(PATIENCE_S):
        told = await idle[0][0].read()
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in told
    for _, writer in idle:
        writer.close()
    await eventually_async(lambda: not stage.node._front._heads)
    await serves(stage)


async def test_late_heads_are_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_S", 0.1)
    assert await answer(stage, b"GET /ws HT") == b""
    assert stage.sample("notify_connections_refused_total", status="408") == 1
    await nothing_is_left(stage)


async def test_a_large_refused_request_can_read_why(stage: Stage) -> None:
    # More than the buffers of the two kernels hold: a node that does not read it resets the connection.
    async with raw(stage) as (reader, writer):
        writer.write(b"GET /ws HTTP/1.1\r\nX: " + b"x" * 8_000_000)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


async def test_a_stream_over_http_1_0_has_no_chunks(stage: Stage) -> None:
    await stage.add()
    sent = head("/sse", f"Authorization: Bearer {token('ann')}\r\n", "GET {} HTTP/1.0")
    async with raw(stage, sent) as (reader, _):
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            while b'"request_id":"r1"' not in received:
                received += await reader.read(65_536)
    top, _, body = received.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.0 200 ")
    assert b"chunked" not in top.lower()
    assert body.startswith(b"retry: ")


# -- What is no frame ------------------------------------------------------------------------------------------------


def framed(opcode: int, payload: bytes, *, fin: int = 0x80, mask: bool = True) -> bytes:
    size = (
        bytes([len(payload) | (0x80 if mask else 0)])
        if len(payload) < 126
        else b"\xfe" + struct.pack("!H", len(payload))
    )
    return bytes([fin | opcode]) + size + (b"\0\0\0\0" if mask else b"") + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (framed(1, b"{}", mask=False), 1002),
        (framed(1, b"{}", fin=0xC0), 1002),
        (framed(1, b"{}", fin=0xA0), 1002),
        (framed(1, b"{}", fin=0x90), 1002),
        (framed(3, b""), 1002),
        (framed(15, b""), 1002),
        (framed(9, b"x" * 126), 1002),
        (framed(9, b"x", fin=0), 1002),
        (framed(8, b"x", fin=0), 1002),
        (framed(8, b"x"), 1002),
        (framed(8, struct.pack("!H", 1005)), 1002),
        (framed(8, struct.pack("!H", 999)), 1002),
        (framed(8, struct.pack("!H", 1000) + b"\xff"), 1007),
        (framed(0, b"x"), 1002),
        (framed(1, b"x", fin=0) + framed(1, b"x"), 1002),
        (framed(2, b"x"), 1003),
        (framed(2, b"x", fin=0), 1003),
        (b"\x81\xff" + b"\xff" * 8 + b"\0" * 4, 1009),
        (b"\x81\xff" + struct.pack("!Q", 2**32) + b"\0" * 4, 1009),
        (framed(1, b"x" * 16_000, fin=0) + framed(0, b"x" * 1000), 1009),
        (framed(1, b'{"type":"\xed\xa0\x80"}'), 1007),
        (framed(1, b"\xc3", fin=0) + framed(0, b"("), 1007),
    ],
)
async def test_bytes_that_are_no_frames_end_it_with_their_code(sent: bytes, code: int, stage: Stage) -> None:
    received = await answer(stage, head(f"/ws?token={token('ann')}"), sent)
    assert code_in(received) == code
    await serves(stage)
    await nothing_is_left(stage)


async def test_a_message_that_is_far_too_large_can_read_why(stage: Stage) -> None:
    device = await stage.live()
    await device.connection.send("x" * 1_000_000)
    assert await device.end() == 1009


async def test_pieces_of_utf_8_may_be_divided_anywhere(stage: Stage) -> None:
    said = '{"type":"ping","id":"äöü€😀"}'.encode()
    parts = [framed(1, said[:1], fin=0), *(framed(0, said[at : at + 1], fin=0) for at in range(1, len(said) - 1))]
    sent = b"".join([*parts, framed(0, said[-1:])])
    async with raw(stage, head(f"/ws?token={token('ann')}")) as (reader, writer):
        async with asyncio.timeout(PATIENCE_S):
            await reader.readuntil(b"missed_notifications")
            writer.write(sent)
            await reader.readuntil('"id":"äöü€😀"'.encode())


async def test_a_flood_ends_with_its_code(stage: Stage) -> None:
    for flood in (framed(9, b""), framed(10, b""), framed(1, b"{}")):
        received = await answer(stage, head(f"/ws?token={token('ann')}"), flood * 20_000)
        assert code_in(received) == 4429
    await serves(stage)
    await nothing_is_left(stage)


# -- What is no frame of the dialect ---------------------------------------------------------------------------------

VALUES: list[Any] = [
    None, True, False, -1, 0, 1.5, 1e300, 2**53, 2**63, 2**70, "", "x", "\0", "x" * 5000, [], {}, [[]], [None], [True],
    [-1], [1.5], ["1"], [2**53], [1] * 101, list(range(2000)), {"epoch": 1}, {"epoch": "", "offset": "1"},
    {"epoch": "x" * 17, "offset": 1}, {"epoch": "\0", "offset": 1}, {"epoch": "", "offset": 5}, {"offset": True},
]  # fmt: skip
FIELDS = [
    ("type",),
    ("auth", "token"),
    ("auth", "ticket"),
    ("auth", "resume"),
    ("ack", "offset"),
    ("read", "ids"),
    ("unread", "ids"),
    ("archive", "ids"),
    ("delete", "ids"),
    ("read_all", "upto"),
    ("ping", "id"),
    ("read", "id"),
    ("subscribe", "channel"),
]
ANSWERS = {"malformed", "unknown_type", "invalid", "not_available", "auth_first"}


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
@pytest.mark.parametrize("is_first", [True, False], ids=["as the first frame", "later"])
async def test_values_of_every_kind_have_an_answer(
    field: tuple[str, ...], is_first: bool, databases: Databases, redis_url: str
) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, sockets_per_user=1000) as stage:
            for value in VALUES:
                frame = {"type": field[0], field[1]: value} if len(field) == 2 else {"type": value}
                await one_frame(stage, frame, is_first)
            await nothing_is_left(stage)


async def one_frame(stage: Stage, frame: dict[str, Any], is_first: bool) -> None:
    device = await (stage.connect(user=None) if is_first else stage.live())
    # Unlike orjson, json writes whole numbers of any size.
    await device.connection.send(json.dumps(frame))
    await device.send("auth", token=token("ann"))
    await device.send("ping", id="after")
    try:
        while (said := await device.frame()) and not (said["type"] == "pong" and said.get("id") == "after"):
            if said["type"] == "error":
                assert said["code"] in ANSWERS, (frame, said)
    except ConnectionClosed:
        assert device.connection.close_code in (4500, 4501), frame
    await device.connection.close()


@pytest.mark.parametrize(
    "said",
    [
        "[" * 16_000,
        '{"a":' * 2_500 + "1" + "}" * 2_500,
        '{"type":"ping","type":"read"}',
        '{"type":"read","ids":[1e999]}',
        '{"type":"read","ids":[NaN]}',
        '{"type":"ping"}{"type":"ping"}',
        '{"type":"\\ud800"}',
        '{"\\u0000":1}',
        "\ufeff{}",
        "null",
        "",
    ],
)
async def test_json_that_is_none_has_an_answer(said: str, stage: Stage) -> None:
    device = await stage.live()
    await device.connection.send(said)
    assert (await device.frame())["code"] in ("malformed", "invalid", "unknown_type")
    await device.send("ping")
    await device.frame_of("pong")


# -- Who is not who it says ------------------------------------------------------------------------------------------

USERS = ["a/b", "..", ".", "a b", "ä€😀", "'\";--", "{}*?[]", "*", "x" * 256, "😀" * 256, "notifications", "%2F", "a:b"]
NOBODY = ["x" * 257, "\0", "a\n", "\u200b", "\u202e"]


@pytest.mark.parametrize("user", USERS)
async def test_every_user_id_has_an_inbox_of_its_own(user: str, databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_auth="open") as stage:
            shown = token(user)
            by_token = await stage.connect(user=None)
            await by_token.send("auth", token=shown)
            by_query = await stage.connect(f"/ws?user_id={quote(user, safe='')}", user=None)
            for device in (by_token, by_query):
                assert (await device.frame())["user_id"] == user
                await device.loaded()
            await stage.add(user)
            for device in (by_token, by_query):
                # It is the first one: the inbox had no epoch before.
                await device.loaded()
            if user != "notifications":
                by_path = await stage.connect(f"/ws/{quote(user, safe='')}", user=None)
                async with asyncio.timeout(PATIENCE_S):
                    assert orjson.loads(await by_path.connection.recv())["user_id"] == user
            status, polled = await get(f"{stage.http}/poll?user_id={quote(user, safe='')}")
            assert (status, polled["unread"]) == (200, 1)


@pytest.mark.parametrize("user", NOBODY)
async def test_a_user_id_that_cannot_be_is_refused(user: str, databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_auth="open") as stage:
            named = quote(user, safe="")
            for path in (f"/ws?user_id={named}", f"/ws/{named}", f"/ws/notifications/?user_id={named}"):
                device = await stage.connect(path, user=None)
                assert await device.end() == 4501
            assert (await get(f"{stage.http}/poll?user_id={named}"))[0] == 401
            assert (await get(f"{stage.http}/sse?user_id={named}"))[0] == 401


def forged(**headers: Any) -> str:
    """Returns a token that anybody can make: signed with the wrong key, or not at all."""
    claims = {"iss": "x", "aud": "notify", "sub": "ann", "iat": 1, "exp": 9_999_999_999}
    parts = [{"typ": "JWT", "alg": "HS256", "kid": "one", **headers}, claims]
    encoded = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, base64.urlsafe_b64encode(b"x" * 32).rstrip(b"=").decode()])


def signed(**changes: Any) -> str:
    now_s = clock.now_ms() // 1000
    claims = {"iss": "x", "aud": "notify", "sub": "ann", "iat": now_s, "exp": now_s + 3600}
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(kept, KEY.partition(":")[2], "HS256", {"kid": "one"})


TOKENS: dict[str, tuple[str, int]] = {
    "none": (forged(alg="none"), 4501),
    "none without a signature": (forged(alg="none").rpartition(".")[0] + ".", 4501),
    "RS256": (forged(alg="RS256"), 4501),
    "HS512": (forged(alg="HS512"), 4501),
    "another key": (forged(), 4501),
    "unknown key": (forged(kid="two"), 4501),
    "no key": (forged(kid=None), 4501),
    "a key that is no text": (forged(kid=["one"]), 4501),
    "critical": (forged(crit=["x"]), 4501),
    "expired": (signed(iat=1, exp=60), 4401),
    "never expires": (signed(exp=None), 4501),
    "too long": (signed(exp=clock.now_ms() // 1000 + 90_000), 4501),
    "no user": (signed(sub=None), 4501),
    "another audience": (signed(aud="others"), 4501),
    "no text": ("....", 4501),
    "very long": ("x" * 7000, 4501),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_that_is_none_is_refused_in_every_place(name: str, stage: Stage) -> None:
    shown, code = TOKENS[name]
    device = await stage.connect(user=None)
    await device.send("auth", token=shown)
    assert await device.end() == code
    await ended(await stage.connect(f"/ws?token={shown}", user=None), code)
    await ended(await stage.connect(user=None, additional_headers={"Authorization": f"Bearer {shown}"}), code)
    await ended(await stage.connect(f"/ws/ann?token={shown}", user=None), code)
    await ended(await stage.connect(f"/ws/notifications/?token={shown}", user=None), code)
    for path in ("/sse", "/poll"):
        assert (await get(f"{stage.http}{path}?token={shown}"))[0] == 401
        assert (await get(stage.http + path, headers={"Authorization": f"Bearer {shown}"}))[0] == 401
    # One that is connected already loses its connection, too.
    connected = await stage.live()
    await connected.send("auth", token=shown)
    assert await connected.end() == code


async def ended(device: Device, code: int) -> None:
    assert await device.end() == code


async def test_half_a_character_is_no_user(stage: Stage) -> None:
    now_s = clock.now_ms() // 1000
    lone = jwt.PyJWS().encode(
        b'{"iss":"x","aud":"notify","sub":"\\ud800","iat":%d,"exp":%d}' % (now_s, now_s + 60),
        KEY.partition(":")[2],
        "HS256",
        {"kid": "one"},
    )
    device = await stage.connect(user=None)
    await device.send("auth", token=lone)
    assert await device.end() == 4501
    await nothing_is_left(stage)


# -- Many ------------------------------------------------------------------------------------------------------------


async def test_a_thousand_of_all_kinds_leave_nothing_behind(stage: Stage) -> None:
    ways: Iterator[list[bytes]] = itertools.cycle(
        [
            [b"GET /ws HT"],
            [head()],
            [head(), framed(1, b"{}")],
            [head(f"/ws?token={token('ann')}")],
            [head(f"/ws?token={token('ann')}"), b"\xff" * 100],
            [head("/sse", f"Authorization: Bearer {token('ann')}\r\n")],
            [head("/poll?wait=25", f"Authorization: Bearer {token('ann')}\r\n")],
            [head("/nothing")],
        ]
    )

    async def come_and_go(number: int) -> None:
        async with raw(stage, *next(ways)):
            # They leave at any moment of what happens then.
            for _ in range(number % 40):
                await asyncio.sleep(0)

    for first in range(0, 1000, 50):
        await asyncio.gather(*(come_and_go(number) for number in range(first, first + 50)))
    await nothing_is_left(stage)
    await serves(stage)


async def test_the_bytes_of_a_close_are_those_of_the_library(stage: Stage) -> None:
    received = await answer(stage, head(f"/ws?token={token('ann')}"), framed(8, struct.pack("!H", 1001) + b"bye"))
    assert received.endswith(Frame(Opcode.CLOSE, b"\x03\xe9bye").serialize(mask=False))
