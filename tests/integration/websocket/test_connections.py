"""Tests who may connect, how a connection ends, and what a device may not do."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from urllib.parse import quote

import pytest
import redis
import websockets
from websockets.exceptions import InvalidStatus

from services.websocket import hub, parts, seats
from services.websocket import node as node_module
from services.websocket.transport import socket as socket_module
from shared import clock
from shared.errors import BadSettings, SchemaMismatch, StoreUnavailable
from shared.realtime import presence
from shared.realtime.presence import PresenceReader
from shared.realtime.tickets import make_ticket
from shared.realtime.tokens import Claims
from shared.store.store import Store
from shared.store.values import Owner
from tests.support.realtime.stage import Device, Stage, serving, token
from tests.support.stores import Databases
from tests.support.waiting import eventually_async


async def opened(stage: Stage, path: str = "/ws", **options: Any) -> Device:
    return await stage.connect(path, user=None, **options)


# -- Who it is -------------------------------------------------------------------------------------------------------


async def test_a_token_may_stand_in_four_places(stage: Stage, redis_client: redis.Redis) -> None:
    ticket, _ = make_ticket(redis_client, Claims("ann", (), 9_999_999_999_999))
    devices = [
        await stage.connect(),
        await opened(stage, additional_headers={"Authorization": f"Bearer {token('ann')}"}),
        await opened(stage, f"/ws?ticket={ticket}"),
        await opened(stage, f"/ws?token={token('ann')}"),
    ]
    for device in devices:
        assert (await device.frame())["user_id"] == "ann"


async def test_a_ticket_in_the_first_frame_is_good_once(stage: Stage, redis_client: redis.Redis) -> None:
    ticket, _ = make_ticket(redis_client, Claims("ann", (), 9_999_999_999_999))
    first = await opened(stage)
    await first.send("auth", ticket=ticket)
    assert (await first.frame())["user_id"] == "ann"
    second = await opened(stage)
    await second.send("auth", ticket=ticket)
    assert await second.end() == 4501


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ({"token": "eyJ.no.token"}, 4501),
        ({"token": ""}, 4501),
        ({}, 4501),
        ({"ticket": "x" * 43}, 4501),
    ],
)
async def test_a_bad_credential_has_its_code(shown: dict[str, str], code: int, stage: Stage) -> None:
    device = await opened(stage)
    await device.send("auth", **shown)
    farewell = await device.farewell()
    assert (farewell["code"], farewell["reconnect"]) == (code, False)
    assert await device.end() == code


async def test_an_expired_token_has_its_code(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(clock, "now_ms", lambda: time.time_ns() // 1_000_000 - 3_600_000)
        old = token("ann")
    device = await opened(stage)
    await device.send("auth", token=old)
    assert (await device.farewell())["reconnect"] is True
    assert await device.end() == 4401


async def test_the_wrong_user_has_its_code(stage: Stage) -> None:
    device = await opened(stage, "/ws?user_id=bob")
    await device.send("auth", token=token("ann"))
    assert await device.end() == 4503


async def test_a_device_that_does_not_say_who_it_is_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    object.__setattr__(stage.node._parts, "auth_s", 0.1)
    device = await opened(stage)
    assert await device.end() == 4504


async def test_the_first_frame_must_be_auth(stage: Stage) -> None:
    device = await opened(stage)
    await device.send("ping", id=7)
    error = await device.frame()
    assert (error["code"], error["id"]) == ("auth_first", 7)
    await device.send("auth", token=token("ann"))
    await device.loaded()


async def test_what_is_said_right_behind_auth_is_heard(stage: Stage, redis_client: redis.Redis) -> None:
    ticket, _ = make_ticket(redis_client, Claims("ann", (), 9_999_999_999_999))
    device = await opened(stage)
    await device.send("auth", ticket=ticket)
    await device.send("ping", id="early")
    assert (await device.frame_of("pong"))["id"] == "early"


async def test_a_token_is_renewed_before_it_ends_and_the_connection_ends_with_it_otherwise(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "EXPIRING_S", 898.5)
    device = await stage.live()
    await device.frame_of("expiring")
    await device.send("auth", token=token("ann", life_s=2000), id="again")
    assert (await device.frame_of("done"))["id"] == "again"
    monkeypatch.setattr(socket_module, "EXPIRING_S", 60)
    await device.send("auth", token=token("ann", life_s=1), id="short")
    await device.frame_of("expiring")
    assert await device.end() == 4401


async def test_nobody_becomes_somebody_else(stage: Stage) -> None:
    device = await stage.live()
    await device.send("auth", token=token("bob"))
    assert await device.end() == 4503


async def test_open_believes_the_name(databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_auth="open", socket_token_keys="") as stage:
            named = await opened(stage, f"/ws?user_id={quote('a/b c', safe='')}")
            assert (await named.frame())["user_id"] == "a/b c"
            resumes = await opened(stage, "/ws?user_id=ann")
            await resumes.send("auth", resume={"epoch": "", "offset": 0})
            assert (await resumes.frame())["recovered"] is True
            nobody = await opened(stage)
            await nobody.send("auth")
            assert await nobody.end() == 4501


async def test_production_is_never_open(databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url, pytest.raises(BadSettings, match="SOCKET_AUTH"):
        async with serving(url, redis_url, socket_auth="open", notify_env="production"):
            pass


# -- Which pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "env", "status"),
    [
        (None, "production", 101),
        ("https://app.example.org", "production", 101),
        ("https://app.example.org:444", "production", 403),
        ("https://evil.example.org", "development", 403),
        ("http://localhost:5050", "development", 101),
        ("http://localhost:5050", "production", 403),
        ("http://localhost.evil.example", "development", 403),
        ("null", "development", 101),
        ("null", "production", 403),
    ],
)
async def test_only_pages_of_known_origins_connect(
    origin: str | None, env: str, status: int, databases: Databases, redis_url: str
) -> None:
    given = {} if origin is None else {"Origin": origin}
    with databases.empty("sqlite") as url:
        async with serving(
            url, redis_url, socket_origins="https://app.example.org", notify_env=env, socket_host="127.0.0.1"
        ) as stage:
            if status == 101:
                await opened(stage, additional_headers=given)
            else:
                with pytest.raises(InvalidStatus) as refused:
                    await opened(stage, additional_headers=given)
                assert refused.value.response.status_code == status


# -- The limit -------------------------------------------------------------------------------------------------------


async def test_the_sixth_connection_ends_the_oldest_and_nobody_chases(stage: Stage, redis_client: redis.Redis) -> None:
    # With the first notification of all, a device has to learn the epoch of the inbox too, by a pull.
    await stage.add()
    devices = []
    for number in range(1, 6):
        devices.append(await stage.live())
        await eventually_async(lambda: connected(redis_client) == number)  # noqa: B023
    sixth = await stage.live()
    farewell = await devices[0].farewell()
    assert (farewell["code"], farewell["reason"], farewell["reconnect"]) == (4505, "evicted", False)
    assert await devices[0].end() == 4505
    await stage.add()
    for device in (*devices[1:], sixth):
        assert (await device.frame())["type"] == "notification"
    assert connected(redis_client) == 5
    assert stage.sample("notify_evicted_total") == 1


def connected(redis_client: redis.Redis, user: str = "ann") -> int:
    return len(PresenceReader(redis_client).connected(Owner(user)))


async def test_a_device_that_leaves_makes_room(stage: Stage, redis_client: redis.Redis) -> None:
    device = await stage.live()
    await eventually_async(lambda: connected(redis_client) == 1)
    await device.connection.close()
    await eventually_async(lambda: connected(redis_client) == 0)


async def test_an_emptied_redis_evicts_nobody(databases: Databases, redis_url: str, redis_client: redis.Redis) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.2) as stage:
            await stage.add()
            devices = [await stage.live() for _ in range(5)]
            await eventually_async(lambda: connected(redis_client) == 5)
            redis_client.flushall()
            await stage.node._presence.beat({})
            await eventually_async(lambda: connected(redis_client) == 5)
            await stage.add()
            for device in devices:
                assert (await device.frame())["type"] == "notification"


async def test_a_lost_kick_is_found(databases: Databases, redis_url: str, redis_client: redis.Redis) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.2, sockets_per_user=1) as stage:
            first = await stage.live()
            await eventually_async(lambda: connected(redis_client) == 1)
            # Another node evicts it, and the kick does not arrive.
            with redis_client.pubsub(ignore_subscribe_messages=True) as other:  # type: ignore[no-untyped-call]
                other.subscribe("notify-node:abc")
                await eventually_async(lambda: dict(redis_client.pubsub_numsub("notify-node:abc"))[b"notify-node:abc"])
                redis_client.set("notify-node:abc", "{}")
                with redis_client.pipeline() as together:
                    together.delete("notify-presence::ann")
                    together.hset("notify-presence::ann", "other", "abc:99999999999999")
                    together.execute()
                assert await first.end() == 4505


async def test_a_forgotten_node_registers_everything_again_and_compares_all_positions(
    stage: Stage, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "BEAT_S", 0.1)
    device = await stage.live()
    await eventually_async(lambda: connected(redis_client) == 1)
    # The node's own heartbeat still waits for the usual time.
    beating = asyncio.create_task(stage.node._beat())
    name = f"notify-node:{stage.node.name}"
    redis_client.delete(name)
    await eventually_async(lambda: redis_client.exists(name))
    await stage.add(wake=False)
    redis_client.flushall()
    # What nobody told is found without the check of positions, which comes after an hour here.
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]
    await eventually_async(lambda: connected(redis_client) == 1)
    beating.cancel()


async def test_the_register_is_renewed_long_before_it_ends(
    databases: Databases, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert presence.RENEWED_EVERY_S * 2 < presence.LIFE_S
    monkeypatch.setattr(node_module, "RENEWED_EVERY_S", 0)
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.1) as stage:
            await stage.live()
            await eventually_async(lambda: connected(redis_client) == 1)
            redis_client.expire("notify-presence::ann", 60)
            await eventually_async(lambda: redis_client.ttl("notify-presence::ann") > 60)


async def test_a_key_of_another_kind_hides_no_other_lost_connection(
    databases: Databases, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "_AT_ONCE", 2)
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.1) as stage:
            for user in ("ann", "bob", "cid"):
                await stage.live(user)
                await eventually_async(lambda: connected(redis_client, user) == 1)  # noqa: B023
            redis_client.set("notify-presence::ann", "no hash")
            redis_client.delete("notify-presence::cid")
            await eventually_async(lambda: connected(redis_client, "cid") == 1)


async def test_without_redis_connections_are_accepted_and_the_limit_is_that_of_the_node(databases: Databases) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, "redis://127.0.0.1:1/0", sockets_per_user=2, position_check_s=0.1) as stage:
            devices = [await stage.live() for _ in range(3)]
            assert await devices[0].end() == 4505
            # Nobody can be told, so the check of positions finds what comes.
            await stage.add(wake=False)
            for device in devices[1:]:
                assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]


async def test_without_redis_nobody_knows_whether_a_ticket_is_valid(databases: Databases) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, "redis://127.0.0.1:1/0") as stage:
            device = await opened(stage, f"/ws?ticket={'A' * 43}")
            farewell = await device.farewell()
            assert (farewell["code"], farewell["reconnect"]) == (1013, True)
            assert 5_000 <= farewell["after_ms"] <= 15_000


# -- What a device may not do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", "malformed"),
        ("[]", "malformed"),
        ("{}", "malformed"),
        ('{"type": 1}', "malformed"),
        ('{"type": "dance", "id": "x"}', "unknown_type"),
        ('{"type": "read", "id": "x"}', "invalid"),
        ('{"type": "read", "ids": [], "id": "x"}', "invalid"),
        ('{"type": "read", "ids": ["1"], "id": "x"}', "invalid"),
        ('{"type": "read", "ids": [true], "id": "x"}', "invalid"),
        ('{"type": "read_all", "upto": -1, "id": "x"}', "invalid"),
        ('{"type": "ack", "offset": 1e3, "id": "x"}', "invalid"),
    ],
)
async def test_three_frames_that_cannot_be_understood_end_it(said: str, code: str, stage: Stage) -> None:
    device = await stage.live()
    for _ in range(3):
        await device.connection.send(said)
        error = await device.frame()
        assert (error["type"], error["code"]) == ("error", code)
        assert error.get("id") == ("x" if '"id"' in said else None)
    assert await device.end() == 4500


async def test_channels_are_not_available_and_that_is_no_fault(stage: Stage) -> None:
    device = await stage.live()
    for frame in ('{"type":"subscribe","channel":"news","id":1}', '{"channel":"news"}', '{"type":"unsubscribe"}') * 2:
        await device.connection.send(frame)
        assert (await device.frame())["code"] == "not_available"
    await device.send("ping")
    await device.frame_of("pong")


@pytest.mark.parametrize(
    ("said", "code"),
    [("x" * (16 * 1024 + 1), 1009), (b"binary", 1003)],
    ids=["16 KiB + 1", "binary"],
)
async def test_a_message_that_is_too_large_or_binary_ends_it(said: str | bytes, code: int, stage: Stage) -> None:
    device = await stage.live()
    await device.connection.send(said)
    assert await device.end() == code


async def test_text_that_is_not_utf8_ends_it(stage: Stage) -> None:
    device = await stage.live()
    await device.connection.send(b'{"type":"\xff"}', text=True)
    assert await device.end() == 1007


async def test_the_largest_message_is_read(stage: Stage) -> None:
    device = await stage.live()
    frame = '{"type":"ping","id":"a","x":""}'
    await device.connection.send(frame.replace('""', '"' + "x" * (16 * 1024 - len(frame)) + '"'))
    assert (await device.frame_of("pong"))["id"] == "a"


async def test_too_many_frames_are_refused_and_then_end_it(stage: Stage) -> None:
    device = await stage.live()
    for number in range(60):
        await device.send("ping", id=number)
    error = await device.frame_of("error")
    assert error["code"] == "rate_limited"
    assert error["id"] >= 39
    farewell = await device.farewell()
    assert farewell["code"] == 4429
    assert farewell["after_ms"] >= 10_000


async def test_a_ping_is_answered(stage: Stage) -> None:
    device = await stage.live()
    async with asyncio.timeout(5):
        await (await device.connection.ping())


async def test_a_device_that_closes_gets_an_answer(stage: Stage) -> None:
    device = await stage.live()
    await device.connection.close(1000)
    assert device.connection.close_code == 1000
    await eventually_async(lambda: stage.node.hub.owners == [])


async def test_a_head_that_does_not_end_is_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.websocket.transport.front.HEAD_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.node.port)
    writer.write(b"GET /ws HTTP/1.1\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_head_that_is_too_large_is_refused(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.node.port)
    writer.write(b"GET /ws HTTP/1.1\r\nX: " + b"x" * parts.HEAD_BYTES)
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_path_without_sockets_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await opened(stage, "/nothing")
    assert refused.value.response.status_code == 404


async def test_a_node_takes_as_many_connections_as_it_may_open_files(
    databases: Databases, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 512 files are for everything else.
    monkeypatch.setattr(node_module, "file_limit", lambda: 512 + 2)
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url) as stage:
            first, _ = await stage.live(), await stage.live()
            with pytest.raises(InvalidStatus) as refused:
                await opened(stage)
            assert refused.value.response.status_code == 503
            assert 5 <= int(refused.value.response.headers["Retry-After"]) <= 15
            await first.connection.close()
            await eventually_async(lambda: stage.node.health()["connections"] == 1)
            await stage.live()


async def test_too_many_first_loads_at_once_are_sent_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_WAITING", 0)
    device = await stage.connect()
    farewell = await device.farewell()
    assert farewell["code"] == 1013
    assert 5_000 <= farewell["after_ms"] <= 15_000


# -- Slow and dead devices -------------------------------------------------------------------------------------------


async def test_one_device_that_does_not_read_delays_nobody_and_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(stage.node._parts, "stalled_s", 0.5)
    await stage.add()
    slow = await unread_socket(stage)
    quick = await stage.live()
    for number in range(2, 402):
        await stage.add(body="x" * 20_000)
        assert (await quick.frame_of("notification"))["offset"] == number
    await eventually_async(lambda: stage.sample("notify_slow_closed_total") == 1, deadline_s=30)
    slow.close()


async def unread_socket(stage: Stage) -> socket.socket:
    """Returns a socket that has asked for ann's inbox and will never read it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", stage.node.port))
    head = f"GET /ws?token={token('ann')} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    await loop.sock_sendall(raw, (head + key).encode())
    await eventually_async(lambda: len(stage.node.hub.sessions_of(Owner("ann"))) == 1)
    return raw


async def test_a_slow_device_catches_up_by_one_pull(stage: Stage) -> None:
    raw = await unread_socket(stage)
    for _ in range(400):
        await stage.add(body="x" * 20_000)
    await eventually_async(lambda: stage.sample("notify_pulls_total", why="slow") == 0)
    received = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        while b'"offset":400,"unread":400' not in received[-100:]:
            received = received[-100:] + await loop.sock_recv(raw, 1 << 20)
    assert stage.sample("notify_pulls_total", why="slow") >= 1
    raw.close()


async def test_a_dead_device_is_cut_and_a_silent_one_that_answers_pings_is_not(
    databases: Databases, redis_url: str
) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_ping_s=0.5) as stage:
            await stage.add()
            raw = await unread_socket(stage)
            alive = await stage.live()
            assert len(stage.node.hub.sessions_of(Owner("ann"))) == 2
            await eventually_async(lambda: len(stage.node.hub.sessions_of(Owner("ann"))) == 1)
            assert stage.sample("notify_connections_closed_total", code="1006") == 1
            await stage.add()
            assert (await alive.frame())["type"] == "notification"
            raw.close()


# -- Without the store, and at the end -------------------------------------------------------------------------------


async def test_without_the_store_sockets_stay_and_who_must_pull_is_sent_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.add()
    stays = await stage.live()

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(stage.store, "pull", away)
    comes = await stage.connect()
    farewell = await comes.farewell()
    assert farewell["code"] == 1013
    assert 5_000 <= farewell["after_ms"] <= 15_000
    await stage.add()
    assert (await stays.frame())["type"] == "notification"
    monkeypatch.setattr(stage.store, "mark", away)
    await stays.send("read", ids=[1], id="a")
    error = await stays.frame()
    assert (error["code"], error["id"]) == ("store_unavailable", "a")


async def test_tables_that_do_not_fit_end_the_node_even_if_it_began_without_the_store(
    databases: Databases, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Store) -> None:
        raise StoreUnavailable("away")

    def older(_: Store) -> None:
        raise SchemaMismatch("its tables are older than this version")

    monkeypatch.setattr(Store, "check_schema", away)
    with databases.empty("sqlite") as url, pytest.raises(SchemaMismatch):
        async with serving(url, redis_url, position_check_s=0.1) as stage:
            device = await stage.connect()
            assert await device.end() == 1013
            monkeypatch.setattr(Store, "check_schema", older)
            await asyncio.wait([stage.running])


async def test_a_draining_node_sends_each_device_away_at_its_own_time(databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, drain_s=1, sockets_per_user=100) as stage:
            devices = [await stage.live() for _ in range(40)]
            loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
            stage.stop.set()

            async def farewell(device: Device) -> tuple[float, dict[str, Any]]:
                frame = await device.farewell()
                assert await device.end() == 1012
                return loop.time() - began, frame

            told = await asyncio.gather(*map(farewell, devices))
            moments = sorted(moment for moment, _ in told)
            # Spread over the second, so no fifth of it has more than half of them.
            assert all(sum(at <= one < at + 0.2 for one in moments) <= 20 for at in (0, 0.2, 0.4, 0.6, 0.8))
            assert all(frame["reconnect"] for _, frame in told)
            assert len({frame["after_ms"] for _, frame in told}) > 30
            assert max(frame["after_ms"] for _, frame in told) <= 5_000
            with pytest.raises(OSError):
                await websockets.connect(stage.url + "/ws", proxy=None)


async def test_a_drained_node_leaves_nobody_behind_in_the_register(
    databases: Databases, redis_url: str, redis_client: redis.Redis
) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url) as stage:
            await stage.live()
            await eventually_async(lambda: connected(redis_client) == 1)
    assert redis_client.keys("notify-presence*") == []
    assert redis_client.keys("notify-node*") == []
