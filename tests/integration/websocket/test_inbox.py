"""Tests what a device is shown: its first load, live notifications, resumes, and what it changes itself."""

from __future__ import annotations

import asyncio

import pytest
import redis

from services.websocket import hub
from shared.realtime import wakeup
from shared.store.values import Owner, Position
from tests.support.realtime.stage import Stage, serving
from tests.support.stores import Databases
from tests.support.waiting import eventually_async


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_a_device_gets_what_it_missed_and_then_what_comes(
    backend: str, databases: Databases, redis_url: str
) -> None:
    with databases.empty(backend) as url:
        async with serving(url, redis_url) as stage:
            await stage.add(count=2)
            device = await stage.connect()
            welcome = await device.frame()
            assert (welcome["type"], welcome["user_id"], welcome["recovered"]) == ("welcome", "ann", False)
            assert (welcome["unread"], welcome["ping_s"]) == (2, 20)
            missed = await device.frame()
            assert [item["request_id"] for item in missed["items"]] == ["r1", "r2"]
            assert (missed["recovered"], missed["offset"], missed["unread"]) == (False, 2, 2)
            await stage.add()
            live = await device.frame()
            assert (live["type"], live["prev"], live["offset"], live["unread"]) == ("notification", 2, 3, 3)
            assert live["notification"]["request_id"] == "r3"
            assert stage.sample("notify_live_total") == 1


async def test_a_user_without_an_inbox_gets_an_empty_one_and_then_what_comes(stage: Stage) -> None:
    device = await stage.connect(user="nobody")
    missed = await device.loaded()
    assert (missed["items"], missed["epoch"], missed["offset"], missed["unread"]) == ([], "", 0, 0)
    await stage.add("nobody")
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]
    await stage.add("nobody")
    assert (await device.frame())["notification"]["request_id"] == "r2"


async def test_a_resume_brings_what_has_changed_and_nothing_else(stage: Stage) -> None:
    await stage.add(count=3)
    at = await stage.end_of()
    await stage.add()
    await stage.change(stage.store.mark, Owner("ann"), [1], read=True)
    await stage.change(stage.store.delete, Owner("ann"), [2])
    device = await stage.connect(resume=at)
    assert (await device.frame())["recovered"] is True
    missed = await device.loaded()
    assert missed["recovered"] is True
    assert [(item["id"], item.get("deleted", False)) for item in missed["items"]] == [(4, False), (1, False), (2, True)]
    assert missed["items"][1]["read_at"] is not None
    assert (missed["offset"], missed["unread"]) == (6, 2)


async def test_a_resume_with_nothing_new_is_answered_all_the_same(stage: Stage) -> None:
    await stage.add()
    at = await stage.end_of()
    device = await stage.connect(resume=at)
    missed = await device.loaded()
    assert (missed["items"], missed["recovered"], missed["epoch"], missed["offset"]) == ([], True, *at)


async def test_a_resume_by_the_query_is_one_too(stage: Stage) -> None:
    await stage.add(count=2)
    at = await stage.end_of()
    await stage.add()
    device = await stage.connect(f"/ws?epoch={at.epoch}&offset={at.offset}")
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r3"]


@pytest.mark.parametrize("position", [Position("ffffffff", 2), Position("", 1)])
async def test_a_position_of_another_epoch_starts_anew(position: Position, stage: Stage) -> None:
    await stage.add(count=2)
    device = await stage.connect(resume=position)
    missed = await device.loaded()
    assert (missed["recovered"], len(missed["items"])) == (False, 2)


async def test_a_position_behind_the_end_gives_the_inbox_a_fresh_epoch(stage: Stage) -> None:
    await stage.add(count=2)
    other = await stage.connect()
    await other.loaded()
    at = await stage.end_of()
    device = await stage.connect(resume=at._replace(offset=9))
    missed = await device.loaded()
    assert (missed["recovered"], missed["offset"]) == (False, 2)
    assert missed["epoch"] != at.epoch
    again = await other.loaded()
    assert (again["recovered"], again["epoch"]) == (False, missed["epoch"])


async def test_a_long_pull_comes_in_pages_of_which_the_last_has_the_position(stage: Stage) -> None:
    for _ in range(5):
        await stage.add(count=50)
    device = await stage.connect()
    await device.frame_of("welcome")
    pages = [await device.frame() for _ in range(3)]
    assert [len(page["items"]) for page in pages] == [100, 100, 50]
    assert [page["recovered"] for page in pages] == [False, True, True]
    assert ["offset" in page for page in pages] == [False, False, True]
    await stage.add()
    assert (await device.frame())["prev"] == pages[-1]["offset"]


async def test_a_large_body_makes_a_page_of_its_own_shorter(stage: Stage) -> None:
    await stage.add(count=90, body="x" * 4000)
    device = await stage.connect()
    await device.frame_of("welcome")
    first = await device.frame()
    assert len(first["items"]) < 90
    assert "offset" not in first


async def test_what_one_device_reads_is_read_on_the_other(stage: Stage) -> None:
    await stage.add(count=3)
    one, other = await stage.live(), await stage.live()
    await one.send("read", ids=[1, 2], id="a")
    answers = {frame["type"]: frame for frame in (await one.frame(), await one.frame())}
    assert answers["done"]["id"] == "a"
    for updated in (answers["updated"], await other.frame()):
        assert (updated["offset"], updated["prev"], updated["unread"]) == (4, 3, 1)
        assert [item["id"] for item in updated["items"]] == [1, 2]
    await one.send("archive", ids=[1])
    assert (await other.frame())["items"][0]["archived_at"] is not None
    await one.send("delete", ids=[2])
    assert (await other.frame())["items"] == [{"id": 2, "deleted": True}]
    await one.send("unread", ids=[1])
    assert (await other.frame())["items"][0]["read_at"] is None
    await one.send("read_all", upto=3)
    last = await other.frame()
    assert (last["upto"], last["unread"]) == (3, 0)


async def test_a_change_that_changes_nothing_is_done_without_a_frame(stage: Stage) -> None:
    await stage.add()
    one, other = await stage.live(), await stage.live()
    await one.send("read", ids=[1], id=1)
    assert (await one.frame_of("done"))["id"] == 1
    await other.frame_of("updated")
    await other.send("read", ids=[1], id=2)
    assert (await other.frame())["type"] == "done"
    assert (await stage.end_of()).offset == 2


async def test_an_acknowledgement_is_kept(stage: Stage) -> None:
    await stage.add(count=2)
    device = await stage.live()
    await device.send("ack", offset=2)
    await eventually_async(lambda: stage.store.summary(Owner("ann")).delivered == 2)


async def test_nobody_acknowledges_what_was_not_sent(stage: Stage) -> None:
    await stage.add(count=2)
    device = await stage.live()
    await device.send("ack", offset=9)
    await device.send("ack", offset=1)
    await eventually_async(lambda: stage.store.summary(Owner("ann")).delivered == 1)


async def test_an_erased_inbox_disappears_from_the_device(stage: Stage) -> None:
    await stage.add(count=2)
    device = await stage.live()
    await stage.change(stage.store.erase, Owner("ann"))
    missed = await device.loaded()
    assert (missed["recovered"], missed["items"], missed["unread"]) == (False, [], 0)


async def test_a_repeat_shows_what_nobody_was_told_of(stage: Stage) -> None:
    device = await stage.live()
    [change] = await stage.add(wake=False)
    bare = change.__class__(change.owner, change.epoch, change.to, change.to, change.unread, change.at_ms)
    await stage.wake_ups.publish([bare])
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]


async def test_a_lost_wake_up_is_found_by_the_check_and_counted(databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.2) as stage:
            device = await stage.live()
            await stage.add(count=3, wake=False)
            await eventually_async(lambda: stage.sample("pending_notifications_count") == 3)
            assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1", "r2", "r3"]
            await eventually_async(lambda: stage.sample("notify_wakeups_lost_total") == 1)
            await eventually_async(lambda: stage.sample("pending_notifications_count") == 0)


async def test_devices_of_many_users_are_read_together_and_each_gets_its_own(stage: Stage) -> None:
    added = {f"u{number}": await stage.add(f"u{number}", count=1 + number % 3) for number in range(40)}
    devices = await asyncio.gather(*(stage.connect(user=user) for user in added))
    for (user, [change]), device in zip(added.items(), devices, strict=True):
        assert (await device.frame_of("welcome"))["user_id"] == user
        assert [item["id"] for item in (await device.loaded())["items"]] == [row.id for row in change.rows]


async def test_the_check_compares_the_positions_of_all_users(
    databases: Databases, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "COMPARED_AT_ONCE", 2)
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, position_check_s=0.2) as stage:
            devices = {f"u{number}": await stage.live(f"u{number}") for number in range(5)}
            for user, device in devices.items():
                [change] = await stage.add(user, wake=False)
                assert [item["id"] for item in (await device.loaded())["items"]] == [change.rows[0].id]
            assert stage.sample("notify_wakeups_lost_total") == 5
            assert stage.sample("notify_pulls_total", why="check") == 5


async def test_swapped_wake_ups_lose_nothing(stage: Stage) -> None:
    await stage.add()
    device = await stage.live()
    [first] = await stage.add(wake=False)
    [second] = await stage.add(wake=False)
    await stage.wake_ups.publish([second])
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r2", "r3"]
    await stage.wake_ups.publish([first])
    await stage.add()
    assert (await device.frame())["prev"] == 3


async def test_a_wake_up_that_nobody_can_read_harms_nobody(stage: Stage, redis_client: redis.Redis) -> None:
    device = await stage.live()
    redis_client.publish(wakeup.channel_of(Owner("ann")), "this is none")
    await stage.add()
    assert [item["request_id"] for item in (await device.loaded())["items"]] == ["r1"]
