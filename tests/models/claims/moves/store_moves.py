"""Lists the moves of the store: leases that run out, losses, and commands that arrive late."""

from __future__ import annotations

from functools import partial

from tests.models.claims.accounts import excuse
from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import (
    MAX_ATTEMPTS,
    UNCLAIMED,
    Handler,
    LateCommand,
    Move,
    Moves,
    World,
    disown,
    holder,
    minus,
)
from tests.models.claims.store import claim, lapsed, record_forward


def moves(context: Context, world: World) -> Moves:
    if world.record and world.record.kind == "P":
        yield from _lapses(context, world, holder(world))
    if world.record and (spent := spend(world, "flush")):
        yield Move("Redis loses everything", True, partial(_flush, spent))
    for command in sorted(set(world.late)):
        yield Move(
            f"a late {command.what} of {command.copy} reaches Redis", False, partial(_arrive, context, world, command)
        )


def _lapses(context: Context, world: World, owner: Handler | None) -> Moves:
    gone = partial(_lapse, context)
    if owner is None:
        yield Move("the lease of nobody runs out", False, partial(gone, world))
    elif owner.place in ("arrived", "waiting", "parked") or owner.outcome in UNCLAIMED:
        yield Move("a lease runs out that nobody relies on", False, partial(gone, world))
    elif owner.place in ("handing on", "renewing") and not context.rules.renew:
        yield Move("the lease runs out while the hand-on is being repeated", False, partial(gone, world))
    elif spent := spend(world, "freeze"):
        # Before its last look at the claim a handler notices the lapse by itself.
        relied_on = owner.place != "claimed"
        excused = excuse(spent, sends=relied_on, ends=relied_on, calls=1)
        yield Move(f"a process stands still for longer than its lease ({owner.place})", True, partial(gone, excused))


def _lapse(context: Context, world: World) -> World:
    assert world.record is not None
    stood_still = tuple(
        tuple(sorted(each._replace(covered=False) if each.holds else each for each in handlers))
        for handlers in world.processes
    )
    return disown(world._replace(record=lapsed(context.rules, world.record), processes=stood_still))


def _flush(world: World) -> World:
    return disown(excuse(world, sends=1, ends=1, calls=MAX_ATTEMPTS)._replace(record=None))


def _arrive(context: Context, world: World, command: LateCommand) -> World:
    world = world._replace(late=minus(world.late, command))
    if command.what == "claim":
        answer, record = claim(context.rules, world.record, False, command.copy)
        return world._replace(record=record) if answer == "yes" else world
    record = record_forward(context.rules, world.record, False, command.copy, command.n)
    return world if record == world.record else disown(world._replace(record=record))
