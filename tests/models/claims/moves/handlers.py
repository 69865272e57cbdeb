"""Lists the moves of the handlers: what each does next, by its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.models.claims.moves import claiming, forwarding, sending
from tests.models.claims.moves.context import Context
from tests.models.claims.state import Handler, Move, Moves, Place, World, put

Steps = Callable[[Context, World, int, Handler], Moves]


def moves(context: Context, world: World) -> Moves:
    for process, handlers in enumerate(world.processes):
        for at, handler in enumerate(handlers):
            if at and handlers[at - 1] == handler:
                continue
            yield from claiming.late_moves(context, world, process, handler)
            yield from _BY_PLACE[handler.place](context, world, process, handler)


def _ack(context: Context, world: World, process: int, handler: Handler) -> Moves:
    words = f"process {process} acks {handler.copy}" + ("" if handler.attached else " in vain: its channel is gone")
    yield Move(words, False, partial(put, world, process, handler, None))


_BY_PLACE: dict[Place, Steps] = {
    "arrived": claiming.arrived,
    "waiting": claiming.waiting,
    "parked": claiming.parked,
    "claimed": claiming.claimed,
    "sending": sending.sending,
    "accepted": sending.accepted,
    "handing on": forwarding.forwarding,
    "renewing": forwarding.renewing,
    "recording": forwarding.recording,
    "publishing late": forwarding.publishing_late,
    "acking": _ack,
}
