"""Tests which messages a paused worker holds, and in which order it releases them."""

from __future__ import annotations

from shared.broker.incoming import Incoming
from shared.message.channels import Priority, lanes_of
from shared.worker.pause import Held
from tests.support.fakes.breaker import Clock
from tests.support.fakes.incoming import RememberedAcks, make_incoming


def message(priority: Priority = "medium", tag: int = 1) -> Incoming:
    return make_incoming(priority=priority, tag=tag)


def test_it_is_probed_with_the_most_urgent_first_and_the_oldest_of_those() -> None:
    held = Held()
    low, first, second = message("low"), message("high", 2), message("high", 3)
    for incoming in (low, first, second):
        held.keep(incoming, "provider")
    probes = [held.take_probe("provider") for _ in range(3)]
    assert [kept.incoming for kept in probes if kept] == [first, second, low]
    assert held.take_probe("provider") is None
    assert len(held) == 0


def test_a_probe_is_held_for_the_cause_that_is_tried() -> None:
    held = Held()
    waits_for_users = message("high")
    held.keep(waits_for_users, "users")
    assert held.take_probe("provider") is None
    kept = held.take_probe("users")
    assert kept is not None
    assert (kept.incoming, kept.cause) == (waits_for_users, "users")


def test_messages_held_for_too_long_are_released_and_the_others_stay_in_order() -> None:
    clock = Clock()
    held = Held(clock)
    old, young, younger = message(tag=1), message(tag=2), message(tag=3)
    held.keep(old, "provider")
    clock.now += 10
    held.keep(young, "provider")
    held.keep(younger, "redis")
    clock.now += 291
    assert [(kept.incoming, kept.cause) for kept in held.take_older_than(300)] == [(old, "provider")]
    assert held.take_older_than(300) == []
    assert [kept.incoming for kept in held.take_all()] == [young, younger]


def test_a_failed_probe_does_not_reset_the_age_of_a_message() -> None:
    clock = Clock()
    held = Held(clock)
    incoming = message()
    held.keep(incoming, "provider")
    clock.now += 299
    assert held.take_probe("provider") is not None
    held.keep(incoming, "provider")
    clock.now += 2
    assert [kept.incoming for kept in held.take_older_than(300)] == [incoming]


def test_it_counts_the_held_messages_of_each_lane() -> None:
    held = Held()
    for priority in ("high", "low", "low"):
        held.keep(message(priority), "provider")
    high, medium, low = lanes_of("push")
    counts = held.by_lane()
    assert (counts[high], counts[medium], counts[low]) == (1, 0, 2)


def test_a_taken_message_is_no_longer_held() -> None:
    held = Held()
    held.keep(message(), "redis")
    assert len(held.take_all()) == 1
    assert (len(held), held.take_all()) == (0, [])


def test_a_probed_message_is_no_probe_until_it_is_requested_again() -> None:
    held = Held()
    tried, fresh = message("high", 1), message("low", 2)
    tried.probed = True
    for incoming in (tried, fresh):
        held.keep(incoming, "users")
    probes = [held.take_probe("users"), held.take_probe("users"), held.take_probe("users", again=True)]
    assert [kept and kept.incoming for kept in probes] == [fresh, None, tried]


def test_only_messages_of_a_closed_channel_are_dropped() -> None:
    gone, here = RememberedAcks(), RememberedAcks()
    gone.is_open = False
    held = Held()
    for book in (gone, here, gone):
        held.keep(make_incoming(book=book), "provider")
    held.forget_void()
    [kept] = held.take_all()
    assert not kept.incoming.is_void
