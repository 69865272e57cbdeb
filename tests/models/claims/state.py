"""Models the world as one request_id sees it, in tuples: states are compared, sorted and kept by the million."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeVar

#: attempts that reach the provider in one life
MAX_ATTEMPTS = 2
#: a number above every attempt: the life is over
END = 9
#: the life that was published, and at most two replays of it
LIVES = 3

Place = Literal["arrived", "waiting", "parked", "claimed", "sending", "accepted", "handing on", "renewing",
                "recording", "publishing late", "acking"]  # fmt: skip
#: why a copy is forwarded; ``elsewhere`` and ``reused`` hold no claim
Outcome = Literal["", "retry", "dead", "uncounted", "elsewhere", "ended unclaimed", "reused"]
Late = Literal["", "claim", "release"]

#: a handler in one of these places has a claim, or had one, and is not done with the message
AT_WORK = frozenset(("claimed", "sending", "accepted", "handing on", "renewing", "recording", "publishing late"))
#: outcomes that are forwarded without a claim
UNCLAIMED = frozenset(("elsewhere", "ended unclaimed", "reused"))

T = TypeVar("T")


class Copy(NamedTuple):
    """Models a message in a queue. ``returns``: how often it was requeued; counted only where there is a limit."""

    life: int
    attempt: int
    body: int = 0
    returns: int = 0

    def __str__(self) -> str:
        return f"attempt {self.attempt}" + f", life {self.life}" * bool(self.life) + ", other body" * bool(self.body)


class Record(NamedTuple):
    """Models what Redis holds: ``P`` in progress, ``F`` forwarded, ``D`` done. A handler knows if a P is its own."""

    kind: Literal["P", "F", "D"]
    life: int
    attempt: int
    body: int


class Handler(NamedTuple):
    """Models one delivery in one process."""

    place: Place
    copy: Copy
    #: its delivery can still be acked
    attached: bool = True
    #: Redis holds a P with its token
    holds: bool = False
    #: it assumes that its lease covers a send
    covered: bool = False
    outcome: Outcome = ""
    #: a command of its own that is still on its way to Redis
    late: Late = ""


class LateCommand(NamedTuple):
    """Models a command on its way to Redis whose sender has gone on: a claim of ``copy``, or a forward at ``n``."""

    what: Literal["claim", "record"]
    copy: Copy
    n: int = 0


class World(NamedTuple):
    record: Record | None
    queue: tuple[Copy, ...]
    ladder: tuple[Copy, ...]
    failed: tuple[Copy, ...]
    processes: tuple[tuple[Handler, ...], ...]
    late: tuple[LateCommand, ...]
    #: faults that may still happen, by their number in ``scenarios.FAULTS``; the next field limits their sum
    left: tuple[int, ...]
    left_in_all: int
    accepted: int = 0
    #: additional acceptances, ends and calls that are allowed, each for an event that the product counts
    excused_sends: int = 0
    excused_ends: int = 0
    excused_calls: int = 0
    #: ends and calls of each life
    ends: tuple[int, ...] = (0,) * LIVES
    calls: tuple[int, ...] = (0,) * LIVES
    #: an acceptance is recorded, or was deliberately not recorded
    settled: bool = False
    #: a promise that the last move broke
    broken: str = ""


class Move(NamedTuple):
    words: str
    is_fault: bool
    make: Callable[[], World]


Moves = Iterator[Move]


def plus(bag: tuple[T, ...], item: T) -> tuple[T, ...]:
    return tuple(sorted((*bag, item)))  # type: ignore[type-var]


def minus(bag: tuple[T, ...], item: T) -> tuple[T, ...]:
    at = bag.index(item)
    return bag[:at] + bag[at + 1 :]


def put(world: World, process: int, old: Handler | None, new: Handler | None) -> World:
    """Replaces ``old`` by ``new`` in its process; None stands for no handler."""
    handlers = world.processes[process]
    if old is not None:
        handlers = minus(handlers, old)
        if new is None and old.late == "claim":
            world = world._replace(late=plus(world.late, LateCommand("claim", old.copy)))
    if new is not None:
        handlers = plus(handlers, new)
    return world._replace(processes=(*world.processes[:process], handlers, *world.processes[process + 1 :]))


def disown(world: World) -> World:
    """Takes P from its holder: the record is gone, or belongs to another handler by now."""
    return world._replace(
        processes=tuple(
            tuple(sorted(each._replace(holds=False) for each in handlers))
            if any(h.holds for h in handlers)
            else handlers
            for handlers in world.processes
        )
    )


def holder(world: World) -> Handler | None:
    return next((each for handlers in world.processes for each in handlers if each.holds), None)


def canonical(world: World) -> World:
    """Sorts the processes: they have no names, so worlds that differ only in their order are equal."""
    processes = tuple(sorted(world.processes))
    return world if processes == world.processes else world._replace(processes=processes)


def tally(counts: tuple[int, ...], life: int) -> tuple[int, ...]:
    return tuple(count + (each == life) for each, count in enumerate(counts))
