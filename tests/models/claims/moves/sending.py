"""Makes the call to the provider and records its acceptance."""

from __future__ import annotations

from functools import partial

from tests.models.claims.accounts import called, excuse
from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import MAX_ATTEMPTS, Handler, Move, Moves, World, disown, put
from tests.models.claims.store import record_done


def sending(context: Context, world: World, process: int, handler: Handler) -> Moves:
    said = f"process {process} sends {handler.copy}:"
    yes = handler._replace(place="accepted")
    dead = handler._replace(place="handing on", outcome="dead")
    failed = dead if handler.copy.attempt + 1 >= MAX_ATTEMPTS else dead._replace(outcome="retry")
    after = partial(_after_call, process=process, handler=handler)
    yield Move(f"{said} accepted", False, partial(after, world, after=yes, accepted=True))
    yield Move(f"{said} refused for now", False, partial(after, world, after=failed, accepted=False))
    yield Move(f"{said} refused for ever", False, partial(after, world, after=dead, accepted=False))
    if spent := spend(world, "ambiguous"):
        excused = excuse(spent, sends=1)
        yield Move(f"{said} accepted, the answer is cut", True, partial(after, excused, after=failed, accepted=True))
    if spent := spend(world, "uncounted"):
        again = handler._replace(place="handing on", outcome="uncounted")
        yield Move(f"{said} no fault of its own", True, partial(put, spent, process, handler, again))


def accepted(context: Context, world: World, process: int, handler: Handler) -> Moves:
    words = f"process {process} records the yes for {handler.copy}"
    yield Move(words, False, partial(_record_done, context, world, process, handler))
    if spent := spend(world, "marker"):
        excused = excuse(spent, sends=1, ends=1, calls=1)._replace(settled=True)
        acking = handler._replace(place="acking")
        words = f"process {process} gives up recording the yes for {handler.copy}"
        yield Move(words, True, partial(put, excused, process, handler, acking))


def _after_call(world: World, *, process: int, handler: Handler, after: Handler, accepted: bool) -> World:
    return called(put(world, process, handler, after), handler.copy, accepted=accepted)


def _record_done(context: Context, world: World, process: int, handler: Handler) -> World:
    record = record_done(context.rules, world.record, handler.holds, handler.copy)
    world = put(world._replace(settled=True), process, handler, handler._replace(place="acking"))
    return world if record == world.record else disown(world._replace(record=record))
