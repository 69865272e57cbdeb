"""Tests that the proxy does to its clients what its methods say; the scenarios see what only they can see."""

from __future__ import annotations

import asyncio
import struct
import time
from functools import partial

import pytest

from ops.servers import RedisServer
from tests.faults.proxy import Proxy, proxy
from tests.support.peers.listening import Serve, listening
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually_async


@pytest.fixture
def redis_port(redis_server: RedisServer) -> int:
    return redis_server.port


async def dial(front: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", front.port)


async def hears_nothing(reader: asyncio.StreamReader, for_s: float = 0.2) -> bool:
    try:
        await asyncio.wait_for(reader.read(1), for_s)
    except TimeoutError:
        return True
    return False


async def test_a_frame_is_cut_in_its_middle_and_only_once() -> None:
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            received.extend(piece)

    begin, frame = b"AMQP\0\0\x09\x01", struct.pack(">BHI", 3, 1, 4000) + b"x" * 4000 + b"\xce"
    async with listening(serve) as port, proxy([port]) as front:
        front.cut_in_frame("up", least_bytes=2000)
        for passed in (begin + frame[: len(frame) // 2], begin + frame):
            received.clear()
            _, writer = await dial(front)
            writer.write(begin + frame)
            await eventually_async(partial(received.__eq__, passed))
            writer.close()
        assert front.cuts == 1


async def test_a_black_hole_is_silence_for_old_and_new_and_what_was_sent_arrives_when_it_is_lifted(
    redis_port: int,
) -> None:
    async with proxy([redis_port]) as front:
        old = await dial(front)
        old[1].write(b"PING\r\n")
        assert await old[0].readline() == b"+PONG\r\n"
        front.black_hole()
        new = await dial(front)
        for _, writer in (old, new):
            writer.write(b"PING\r\n")
        assert await hears_nothing(old[0])
        assert await hears_nothing(new[0])
        front.pass_on()
        for reader, writer in (old, new):
            assert await reader.readline() == b"+PONG\r\n"
            writer.close()


async def test_latency_is_added_each_way_and_the_order_kept(redis_port: int) -> None:
    async with proxy([redis_port]) as front:
        reader, writer = await dial(front)
        front.latency(0.1)
        begun = time.monotonic()
        writer.write(b"ECHO 1\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"ECHO 2\r\n")
        assert await reader.readexactly(len(b"$1\r\n1\r\n")) == b"$1\r\n1\r\n"
        assert 0.2 <= time.monotonic() - begun < 0.4
        writer.write(b"ECHO 3\r\n")
        front.pass_on()
        writer.write(b"ECHO 4\r\n")
        assert await reader.readexactly(21) == b"$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"
        writer.close()


async def test_an_answer_that_is_held_is_lost_by_a_reset(redis_port: int) -> None:
    async with proxy([redis_port]) as front:
        reader, writer = await dial(front)
        front.hold_answers()
        writer.write(b"PING\r\n")
        await eventually_async(lambda: front.kept_bytes("down") > 0)
        front.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        front.pass_on()
        reader, writer = await dial(front)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        writer.close()


async def test_connections_go_round_those_who_accept() -> None:
    def saying(word: bytes) -> Serve:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(word)

        return serve

    heard = set()
    async with (
        listening(saying(b"one")) as one,
        listening(saying(b"two")) as two,
        proxy([run_ports(1)[0], one, two]) as front,
    ):
        for _ in range(6):
            reader, writer = await dial(front)
            heard.add(await reader.read())
            writer.close()
    assert heard == {b"one", b"two"}
