"""Checks what the hub does with many devices at once; ``tests/properties/test_hub.py`` checks that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.websocket import hub as hub_module
from services.websocket.reads import PULLS_AT_ONCE
from services.websocket.transport import native
from shared.realtime.close_codes import INTERNAL, OVERLOADED
from shared.store.values import Position, Pull
from tests.support.realtime.inboxes import Inboxes, Json


@pytest.fixture
def world() -> Iterator[Inboxes]:
    made = Inboxes(nodes=1, phones=70)
    yield made
    made.close()


def connect_all(world: Inboxes) -> None:
    node = world.nodes[0]

    def connect() -> None:
        for phone in world.phones:
            world.connect(phone, node)

    world.call(connect)
    world.call(node.confirm)


def test_devices_that_come_together_share_snapshots(world: Inboxes) -> None:
    connect_all(world)
    node = world.nodes[0]
    left = len(world.phones)
    while left:
        # Two snapshots at a time, and no more devices in one than allowed: so 32 devices are read at a time.
        assert len(node.requests) == min(2, -(-left // PULLS_AT_ONCE))
        node.requests[0].go_on()
        assert len(node.requests[0].taken[0]) == min(PULLS_AT_ONCE, left)
        left -= len(node.requests[0].taken[0])
        world.call(lambda: node.go_on(0))
    assert 2 * PULLS_AT_ONCE == 32
    world.settle()


def test_a_user_who_has_gone_before_the_subscription_is_not_subscribed(world: Inboxes) -> None:
    phone, node = world.phones[0], world.nodes[0]

    def come_and_go() -> None:
        world.connect(phone, node)
        world.cut(phone)

    world.call(come_and_go)
    assert not node.wanted
    assert node.confirming == []


def test_a_device_that_cannot_be_served_is_ended_and_the_others_are_served(
    world: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.may_break = True
    for _ in range(3):
        world.commit(world.line.add())
    connect_all(world)
    at_once, later = (phone.link for phone in world.phones[:2])
    assert at_once is not None
    assert later is not None

    def broken(pull: Pull) -> Iterator[bytes]:
        raise ValueError("a row that is no JSON")

    def broken_later(pull: Pull) -> Iterator[bytes]:
        yield next(native.pages(replace(pull, rows=pull.rows[:1])))
        raise ValueError("a row that is no JSON")

    monkeypatch.setattr(at_once, "pulled", broken)
    monkeypatch.setattr(later, "pulled", broken_later)
    world.settle()
    assert (at_once.ended, later.ended) == (INTERNAL, INTERNAL)
    assert [phone.link is not None for phone in world.phones] == [False, False] + [True] * 68


def test_a_wake_up_that_cannot_be_written_stops_none_of_the_following_ones(
    world: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "WRITES_AT_ONCE", 4)
    monkeypatch.setattr(hub_module, "log_death", lambda task: task.cancelled() or task.exception())
    world.commit(world.line.add())
    connect_all(world)
    world.settle()
    with monkeypatch.context() as broken:
        broken.setattr(Json, "live", lambda *_: 1 / 0)
        world.commit(world.line.add())
        world.publish(0)
        world.call(world.nodes[0].hear)
    world.commit(world.line.add())
    world.publish(0)
    world.call(world.nodes[0].hear)
    world.settle()


def test_one_subscription_serves_all_devices_of_a_user(world: Inboxes) -> None:
    connect_all(world)
    assert world.nodes[0].confirming == []
    world.settle()
    for phone in world.phones[1:]:
        world.call(lambda phone=phone: world.cut(phone))  # type: ignore[misc]
    assert world.nodes[0].wanted
    world.call(lambda: world.cut(world.phones[0]))
    assert not world.nodes[0].wanted
    assert world.nodes[0].hub.owners == []


def test_very_many_devices_get_each_wake_up_in_order_and_without_a_pull(
    world: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "WRITES_AT_ONCE", 4)
    world.commit(world.line.add())
    connect_all(world)
    world.settle()
    node = world.nodes[0]

    def hear_three() -> None:
        for _ in range(3):
            world.commit(world.line.add())
            world.publish(0)
        while node.queue:
            node.hear()

    world.call(hear_three)
    for _ in range(20):
        world.turn()
    assert node.requests == []
    assert [[frame["offset"] for frame in phone.link.sent] for phone in world.phones if phone.link] == [[2, 3, 4]] * 70


def test_a_device_that_ends_in_between_harms_nobody(world: Inboxes) -> None:
    world.commit(world.line.add())
    connect_all(world)
    world.settle()
    node = world.nodes[0]
    for phone in world.phones[::2]:
        assert phone.link is not None
        phone.link.full = True
    world.commit(world.line.add())
    world.publish(0)
    world.call(node.hear)
    for phone in world.phones[::3]:
        world.cut(phone)
    world.settle()


def test_who_must_be_read_while_the_store_is_away_is_sent_away(world: Inboxes) -> None:
    connect_all(world)
    node = world.nodes[0]
    links = [phone.link for phone in world.phones]
    for _ in range(3):
        world.call(node.fail)
    assert {link.ended for link in links if link is not None} == {OVERLOADED}
    assert node.hub.owners == []


def test_too_many_first_loads_make_it_overloaded_until_they_are_over(
    world: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MOST_WAITING", 70)
    hub = world.nodes[0].hub
    connect_all(world)
    assert hub.overloaded
    world.call(lambda: world.cut(world.phones[-1]))
    assert not hub.overloaded
    world.settle()
    monkeypatch.setattr(hub_module, "MOST_WAITING", 1)
    assert not hub.overloaded


def test_a_device_that_is_not_behind_is_told_nothing(world: Inboxes) -> None:
    world.commit(world.line.add())
    connect_all(world)
    world.settle()
    # A repeat: nothing has changed, and everybody has it.
    world.commit(world.line.repeat())
    world.publish(0)
    world.call(world.nodes[0].hear)
    assert world.nodes[0].requests == []


def test_a_position_in_an_inbox_that_does_not_exist_is_read_once(world: Inboxes) -> None:
    phone, node = world.phones[0], world.nodes[0]
    phone.position = Position("", 5)
    world.call(lambda: world.connect(phone, node))
    world.settle()
    assert phone.position == Position("", 0)
    assert world.line.epoch == ""


def test_a_store_that_went_back_gets_a_fresh_epoch(world: Inboxes) -> None:
    for _ in range(3):
        world.line.add()
    phone = world.phones[0]
    phone.position = Position(world.line.epoch, 9)
    world.call(lambda: world.connect(phone, world.nodes[0]))
    epoch = world.line.epoch
    world.settle()
    assert world.line.epoch != epoch
    assert phone.position == world.line.end
