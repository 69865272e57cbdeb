"""Tests which connections are cut, over a hand-made list of connections and a clock that a test moves."""

from collections.abc import Sequence

import pytest

from gateway.connections.guard import ANSWER_S, HEAD_S, Guard
from gateway.connections.progress import Progress, Request
from gateway.connections.sockets import Sight

RECEIVE_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def sight(
    inode: int = 1,
    *,
    address: str = "192.0.2.1",
    sent: float = 100,
    received: float = 0,
    bytes_: int = 10,
    segments: int = 1,
    unsent: int = 0,
) -> Sight:
    return Sight(inode, inode, address, sent, received, bytes_, segments, unsent)


def request(since: float, *, reading: bool, address: str = "192.0.2.1") -> Request:
    made = Request(address, since, set())
    if reading:
        made.start_reading()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(1, Progress(), lambda rule: None, receive_s=RECEIVE_S, most_connections=100, clock=clock)


def rules(guard: Guard, seen: Sequence[Sight], requests: Sequence[Request] = ()) -> list[tuple[int, str]]:
    return [(guilty.inode, rule) for guilty, rule in guard.judge(seen, requests)]


def test_a_connection_that_brings_nothing_is_cut(guard: Guard) -> None:
    fresh, stale = sight(1, sent=4, received=4, bytes_=0), sight(2, sent=6, received=6, bytes_=0)
    assert rules(guard, [fresh, stale]) == [(2, "head")]


def test_a_head_that_stops_right_after_the_connection_was_made_is_cut(guard: Guard, clock: Clock) -> None:
    """The kernel counts milliseconds: the first data can be as old as the connection."""
    assert rules(guard, [sight(sent=0.5, received=0.5, segments=0)]) == []
    clock.now += HEAD_S
    assert rules(guard, [sight(sent=0.5 + HEAD_S, received=0.5 + HEAD_S, segments=0)]) == [(1, "head")]


def test_a_head_that_drips_is_cut_although_bytes_keep_coming(guard: Guard, clock: Clock) -> None:
    for age in range(int(HEAD_S)):
        assert rules(guard, [sight(sent=30 + age, received=0.5)]) == [], age
        clock.now += 1
    assert rules(guard, [sight(sent=50, received=0.5)]) == [(1, "head")]


def test_a_connection_that_is_answered_in_between_is_left_alone(guard: Guard, clock: Clock) -> None:
    for segments in range(60):
        assert rules(guard, [sight(sent=0.4, received=0.2, segments=segments)]) == []
        clock.now += 1


def test_an_idle_connection_is_left_to_the_keep_alive_time(guard: Guard, clock: Clock) -> None:
    for age in range(70):
        assert rules(guard, [sight(sent=age, received=age + 0.01)]) == []
        clock.now += 1


def test_a_body_that_does_not_end_is_cut_and_a_request_in_hand_is_not(guard: Guard, clock: Clock) -> None:
    begun = clock.now
    slow = request(begun + 0.1, reading=True)
    working = request(begun + 0.1, reading=False, address="192.0.2.2")
    seen = [sight(1), sight(2, address="192.0.2.2")]
    for _ in range(int(RECEIVE_S) + 1):
        assert rules(guard, seen, [slow, working]) == []
        clock.now += 1
    assert rules(guard, seen, [slow, working]) == [(1, "request")]
    # The operator's scan of failed.queue may take minutes.
    clock.now += 300
    assert rules(guard, seen, [working]) == [(1, "head")]


def test_a_body_that_was_asked_for_and_does_not_come_is_cut(guard: Guard, clock: Clock) -> None:
    """The client sent "Expect: 100-continue", and the server's "100 Continue" was the last that was said."""
    waiting = request(clock.now, reading=True)
    clock.now += RECEIVE_S + 1
    asked = sight(1, sent=RECEIVE_S + 0.9, received=RECEIVE_S + 1, segments=1)
    idle = sight(2, sent=RECEIVE_S + 20, received=RECEIVE_S + 20.1, segments=1)
    stranger = sight(3, address="192.0.2.9", sent=RECEIVE_S + 0.9, received=RECEIVE_S + 1, segments=1)
    assert rules(guard, [asked, idle, stranger], [waiting]) == [(1, "request")]


def test_a_body_that_comes_after_100_continue_has_its_whole_time(guard: Guard, clock: Clock) -> None:
    reading = request(clock.now, reading=True)
    clock.now += 4
    for age in range(int(RECEIVE_S)):
        assert rules(guard, [sight(sent=4.0 + age, received=0.1, segments=1)], [reading]) == [], age
        clock.now += 1
    clock.now += 1
    assert rules(guard, [sight(sent=20, received=0.1, segments=1)], [reading]) == [(1, "request")]


def test_a_request_of_the_same_address_that_began_at_another_time_protects_nobody(guard: Guard, clock: Clock) -> None:
    earlier = request(clock.now - 60, reading=False)
    rules(guard, [sight()], [earlier])
    clock.now += HEAD_S + 1
    assert rules(guard, [sight()], [earlier]) == [(1, "head")]
    later = request(clock.now + HEAD_S + 5, reading=False)
    clock.now += RECEIVE_S
    assert rules(guard, [sight()], [later]) == [(1, "request")]


def test_a_client_that_takes_no_answer_is_cut(guard: Guard) -> None:
    taking = sight(1, sent=ANSWER_S - 1, received=ANSWER_S + 9, unsent=5)
    stuck = sight(2, sent=ANSWER_S + 1, received=ANSWER_S + 9, unsent=5)
    assert rules(guard, [taking, stuck]) == [(2, "answer")]


def test_in_a_crowd_those_that_have_been_idle_for_longest_make_room(guard: Guard) -> None:
    idle = [sight(n, sent=n, received=n + 0.5) for n in range(2, 95)]
    used = [sight(n, sent=0.1, received=0.2) for n in range(200, 207)]
    cut = rules(guard, [*idle, *used])
    assert cut == [(n, "crowded") for n in range(94, 74, -1)]
    assert rules(guard, [*idle[:80], *used]) == []


def test_the_descriptor_of_another_connection_is_not_cut() -> None:
    import socket

    from gateway.connections.sockets import connections, cut

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as accepted:
            client.sendall(b"abc")
            accepted.recv(3)
            (found,) = connections(port)
            assert (found.address, found.received_bytes, found.sent_segments) == ("127.0.0.1", 3, 0)
            assert found.received_age_s <= found.sent_age_s
            other = Sight(**{name: getattr(found, name) for name in found.__slots__} | {"inode": found.inode + 1})
            assert not cut(other)
            assert cut(found)
            assert (accepted.recv(1), client.recv(1)) == (b"", b"")
        assert not cut(found)
