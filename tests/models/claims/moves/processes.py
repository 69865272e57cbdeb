"""Lists the moves that befall a process: a crash, a lost channel, a stop."""

from __future__ import annotations

from functools import partial

from tests.models.claims.accounts import excuse
from tests.models.claims.moves.broker import back_in_queue
from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import AT_WORK, Handler, Move, Moves, World, put
from tests.models.claims.store import released


def moves(context: Context, world: World) -> Moves:
    for process, handlers in enumerate(world.processes):
        if not handlers:
            continue
        if spent := spend(world, "crash"):
            yield Move(f"process {process} crashes", True, partial(_crash, context, spent, process))
        if any(each.attached for each in handlers) and (spent := spend(world, "channel")):
            words = f"process {process} loses its channel"
            yield Move(f"{words}, what has not begun is forgotten", True, partial(_cut, context, spent, process, True))
            if any(each.place == "arrived" for each in handlers):
                yield Move(f"{words}, all has begun", True, partial(_cut, context, spent, process, False))
        if spent := spend(world, "stop"):
            yield Move(f"process {process} stops", True, partial(_stop, context, spent, process))


def _crash(context: Context, world: World, process: int) -> World:
    for handler in world.processes[process]:
        world = _end(context, world, process, handler)
    return world


def _end(context: Context, world: World, process: int, handler: Handler) -> World:
    """Removes a handler; its end explains a send or a forward that it had made and not yet recorded."""
    unrecorded_end = handler.place == "recording" and handler.outcome == "dead"
    world = excuse(world, sends=handler.place == "accepted", ends=unrecorded_end, calls=handler.place in AT_WORK)
    world = put(world, process, handler, None)
    return back_in_queue(context, world, handler.copy) if handler.attached else world


def _cut(context: Context, world: World, process: int, forgets: bool) -> World:
    """Forgets the copies that were held or had not begun; the other handlers go on without their delivery."""
    for handler in world.processes[process]:
        if handler.attached:
            gone = handler.place == "parked" or (forgets and handler.place == "arrived")
            world = put(world, process, handler, None if gone else handler._replace(attached=False))
            world = back_in_queue(context, world, handler.copy)
    return world


def _stop(context: Context, world: World, process: int) -> World:
    """Ends the handlers that are left: they had time to finish (in every other move) and are cut short now."""
    for handler in world.processes[process]:
        untried = handler.place in ("arrived", "waiting", "parked", "claimed")
        if untried and handler.holds and context.rules.stop == "release untried":
            world = world._replace(record=released(context.rules, handler.copy))
        world = _end(context, world, process, handler)
    return world
