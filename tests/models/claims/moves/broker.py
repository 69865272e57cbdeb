"""Lists the moves of the broker: deliveries, the ladder, and copies that return unacked."""

from __future__ import annotations

from functools import partial

from tests.models.claims.accounts import entered, excuse
from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import Copy, Handler, Move, Moves, World, minus, plus, put


def moves(context: Context, world: World) -> Moves:
    for copy in sorted(set(world.queue)):
        for process, handlers in enumerate(world.processes):
            if sum(each.attached for each in handlers) < context.scenario.slots:
                yield Move(f"{copy} is delivered to process {process}", False, partial(_deliver, world, copy, process))
    for copy in sorted(set(world.ladder)):
        yield Move(f"{copy} leaves the ladder", False, partial(_return, world, copy, stays=False))
        if spent := spend(world, "ladder_twice"):
            yield Move(f"{copy} leaves the ladder twice", True, partial(_return, spent, copy, stays=True))


def back_in_queue(context: Context, world: World, copy: Copy) -> World:
    """Requeues an unacked copy; the broker ends it once it has returned too often."""
    if not context.scenario.limit:
        return world._replace(queue=plus(world.queue, copy))
    if copy.returns < context.scenario.limit:
        return world._replace(queue=plus(world.queue, copy._replace(returns=copy.returns + 1)))
    # The broker records nothing in Redis: a duplicate of this copy may still be delivered.
    return entered(excuse(world, ends=1), copy)


def _deliver(world: World, copy: Copy, process: int) -> World:
    return put(world._replace(queue=minus(world.queue, copy)), process, None, Handler("arrived", copy))


def _return(world: World, copy: Copy, *, stays: bool) -> World:
    ladder = world.ladder if stays else minus(world.ladder, copy)
    return world._replace(ladder=ladder, queue=plus(world.queue, copy))
