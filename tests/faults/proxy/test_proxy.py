"""Tests that the proxy does to the clients of a real RabbitMQ and a real Redis what its
methods say, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ops.servers import RabbitMQServer, RedisServer
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishUnknown
from tests.faults.proxy import Proxy, proxy
from tests.support.servers import run_ports
from tests.support.waiting import eventually_async

LANE = ("notifications.direct", "push")


@pytest.fixture
def rabbitmq_port(rabbitmq: RabbitMQServer) -> int:
    return rabbitmq.ports.amqp


@pytest.fixture
def redis_port(redis_server: RedisServer) -> int:
    return redis_server.port


def through(url: str, front: Proxy) -> str:
    """Returns ``url`` with the proxy's address."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{front.port}")).geturl()


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(url, "proxied", levels_s=(1.0,), deadline_s=5, max_pending=2000, channels=("push",))
    publisher.start()
    try:
        await asyncio.wait_for(publisher.connection.wait_up(), 15)
        yield publisher
    finally:
        await publisher.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Runs a server that sends everything back, in order. Yields its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(256 * 1024):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return  # what a fault does to a server
        finally:
            writer.close()

    port = run_ports(1)[0]
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with server:
        yield port


async def dial(front: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", front.port)


async def hears_nothing(reader: asyncio.StreamReader, for_s: float = 0.2) -> bool:
    try:
        await asyncio.wait_for(reader.read(1), for_s)
    except TimeoutError:
        return True
    return False


async def test_publishes_pass_and_are_counted(rabbitmq_port: int, vhost_url: str) -> None:
    async with proxy([rabbitmq_port]) as front, publishing(through(vhost_url, front)) as publisher:
        assert await publisher.publish_all([Publication(*LANE, b"x" * 5000, {})] * 500) == [None] * 500
        assert front.counts.connections == front.counts.open == 1
        assert front.counts.bytes_up > 500 * 5000


async def test_a_lost_confirm_is_kept_from_the_publisher_though_the_broker_gave_it(
    rabbitmq_port: int, vhost_url: str
) -> None:
    async with (
        proxy([rabbitmq_port]) as front,
        publishing(through(vhost_url, front)) as publisher,
        publishing(vhost_url) as beside,
    ):
        front.hold_answers()
        publish = asyncio.create_task(publisher.publish(Publication(*LANE, b"{}", {}), deadline_s=1.0))
        await eventually_async(lambda: front.kept_bytes("down") > 0)
        front.reset()
        with pytest.raises(PublishUnknown):
            await publish
        front.pass_on()
        channel = await beside.connection.channel()
        answer = await channel.get("push.queue")
        assert answer is not None
        assert answer[2] == b"{}"


async def test_a_frame_is_cut_in_its_middle_and_nothing_of_it_is_stored(rabbitmq_port: int, vhost_url: str) -> None:
    async with (
        proxy([rabbitmq_port]) as front,
        publishing(through(vhost_url, front)) as publisher,
        publishing(vhost_url) as beside,
    ):
        before = front.counts
        front.cut_in_frame("up", least_bytes=2000)
        with pytest.raises(PublishUnknown):
            await publisher.publish(Publication(*LANE, b"x" * 4000, {}), deadline_s=0.05)
        assert front.counts.cuts == 1
        assert 2000 < front.counts.bytes_up - before.bytes_up < 4000
        await eventually_async(lambda: publisher.state == "up")
        await publisher.publish(Publication(*LANE, b"y", {}))
        channel = await beside.connection.channel()
        answer = await channel.get("push.queue")
        assert answer is not None
        assert answer[2] == b"y"


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
        assert front.served[redis_port] == 1
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


async def test_it_refuses_and_resets_and_heals(redis_port: int) -> None:
    async with proxy([redis_port]) as front:
        reader, writer = await dial(front)
        front.refuse()
        with pytest.raises(ConnectionRefusedError):
            await dial(front)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        front.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        front.pass_on()
        client = redis.Redis(port=front.port, retry=Retry(NoBackoff(), 0))
        assert await client.ping()
        await client.aclose()


async def test_connections_go_round_those_who_accept(redis_port: int) -> None:
    dead = run_ports(1)[0]
    async with echo_server() as other, proxy([dead, redis_port, other]) as front:
        for _ in range(6):
            _, writer = await dial(front)
            writer.close()
        await eventually_async(lambda: front.served.total() == 6)
        assert set(front.served) == {redis_port, other}
        assert front.counts.unserved == 0


async def test_without_a_server_the_client_is_reset() -> None:
    async with proxy([run_ports(1)[0]]) as front:
        reader, writer = await dial(front)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        assert front.counts.unserved == 1


async def test_any_protocol_is_cut_after_so_many_bytes_and_only_once() -> None:
    async with echo_server() as port, proxy([port]) as front:
        front.cut_after("down", 3)
        reader, writer = await dial(front)
        writer.write(b"abcdef")
        assert await reader.readexactly(3) == b"abc"
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        reader, writer = await dial(front)
        writer.write(b"abcdef")
        assert await reader.readexactly(6) == b"abcdef"
        writer.close()
