"""What a paused worker keeps in hand, and in which order it lets go."""

from __future__ import annotations

from shared.broker.incoming import Incoming
from shared.message.channels import Priority, lanes_of
from shared.worker.pause import Held
from tests.support.incoming import RememberedAcks, make_incoming


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


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


def test_those_held_for_too_long_are_let_go_and_the_others_stay_in_order() -> None:
    clock = Clock()
    held = Held(clock)
    old, young, younger = message(tag=1), message(tag=2), message(tag=3)
    held.keep(old, "provider")
    clock.now_s += 10
    held.keep(young, "provider")
    held.keep(younger, "redis")
    clock.now_s += 291
    assert [(kept.incoming, kept.cause) for kept in held.take_older_than(300)] == [(old, "provider")]
    assert held.take_older_than(300) == []
    assert [kept.incoming for kept in held.take_all()] == [young, younger]


def test_a_failed_probe_does_not_make_a_message_young_again() -> None:
    clock = Clock()
    held = Held(clock)
    incoming = message()
    held.keep(incoming, "provider")
    clock.now_s += 299
    assert held.take_probe("provider") is not None
    held.keep(incoming, "provider")
    clock.now_s += 2
    assert [kept.incoming for kept in held.take_older_than(300)] == [incoming]


def test_it_knows_how_many_each_lane_has() -> None:
    held = Held()
    for priority in ("high", "low", "low"):
        held.keep(message(priority), "provider")
    high, medium, low = lanes_of("push")
    counts = held.by_lane()
    assert (counts[high], counts[medium], counts[low]) == (1, 0, 2)


def test_what_was_taken_is_held_no_more() -> None:
    held = Held()
    held.keep(message(), "redis")
    assert len(held.take_all()) == 1
    assert (len(held), held.take_all()) == (0, [])


def test_one_that_was_tried_is_no_probe_until_it_is_asked_for_again() -> None:
    held = Held()
    tried, fresh = message("high", 1), message("low", 2)
    tried.probed = True
    for incoming in (tried, fresh):
        held.keep(incoming, "users")
    probes = [held.take_probe("users"), held.take_probe("users"), held.take_probe("users", again=True)]
    assert [kept and kept.incoming for kept in probes] == [fresh, None, tried]


def test_what_a_lost_channel_brought_is_forgotten_and_nothing_else() -> None:
    gone, here = RememberedAcks(), RememberedAcks()
    gone.is_open = False
    held = Held()
    for book in (gone, here, gone):
        held.keep(make_incoming(book=book), "provider")
    held.forget_void()
    [kept] = held.take_all()
    assert not kept.incoming.is_void
