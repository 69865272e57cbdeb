"""Moves a delivery towards the right to send: it claims, waits for another, is held by a paused worker, looks again."""

from __future__ import annotations

from functools import partial

from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import AT_WORK, Handler, Move, Moves, World, disown, put
from tests.models.claims.store import Answer, claim, released


def arrived(context: Context, world: World, process: int, handler: Handler) -> Moves:
    yield _claim(context, world, process, handler, first=True)
    if not handler.late and (spent := spend(world, "late")):
        parked = handler._replace(place="parked", late="claim")
        words = f"process {process} claims {handler.copy}, Redis is silent, the command is on its way"
        yield Move(words, True, partial(put, spent, process, handler, parked))


def waiting(context: Context, world: World, process: int, handler: Handler) -> Moves:
    if not any(
        mate.holds and mate.place in AT_WORK and _is_awaited(context, mate) for mate in world.processes[process]
    ):
        again = handler._replace(place="arrived")
        yield Move(
            f"process {process} has waited with {handler.copy}", False, partial(put, world, process, handler, again)
        )


def parked(context: Context, world: World, process: int, handler: Handler) -> Moves:
    """Yields the moves of a copy that a paused worker holds, without a claim as far as it knows."""
    resumed = handler._replace(place="arrived")
    if handler.late == "release" and context.rules.fresh_token_after_lost_release:
        # The new token has no right to the old token's claim: the old lease must run out.
        resumed = resumed._replace(holds=False, late="")
    yield Move(f"process {process} resumes {handler.copy}", False, partial(put, world, process, handler, resumed))
    requeue = handler._replace(
        place="handing on", outcome="elsewhere", late="" if handler.late == "release" else handler.late
    )
    yield Move(f"process {process} lets go of {handler.copy}", False, partial(put, world, process, handler, requeue))


def claimed(context: Context, world: World, process: int, handler: Handler) -> Moves:
    if handler.holds or handler.covered or not context.rules.recheck:
        go = handler._replace(place="sending", covered=False)
        words = f"process {process} trusts its lease on {handler.copy}"
        yield Move(words, False, partial(put, world, process, handler, go))
    if not handler.holds and context.rules.recheck:
        yield _claim(context, world, process, handler, first=False)
    if spent := spend(world, "hold"):
        yield from _hold(context, spent, process, handler)


def late_moves(context: Context, world: World, process: int, handler: Handler) -> Moves:
    if handler.late:
        words = f"the late {handler.late} of process {process} for {handler.copy} reaches Redis"
        make = _late_claim if handler.late == "claim" else _late_release
        yield Move(words, False, partial(make, context, world, process, handler))


def _claim(context: Context, world: World, process: int, handler: Handler, *, first: bool) -> Move:
    answer, record = claim(context.rules, world.record, handler.holds, handler.copy)
    verb = "claims" if first else "looks at its claim again:"
    words = f"process {process} {verb} {handler.copy}: {answer}"
    if answer == "yes":
        after = handler._replace(place="claimed", holds=True, covered=True)
        return Move(words, False, partial(put, world._replace(record=record), process, handler, after))
    unclaimed = handler._replace(holds=False, covered=False)
    after = _refused(context, world, process, handler, unclaimed, answer, first=first)
    return Move(f"{words}, {after.place}", False, partial(put, world, process, handler, after))


def _refused(
    context: Context, world: World, process: int, handler: Handler, unclaimed: Handler, answer: Answer, *, first: bool
) -> Handler:
    if answer in ("duplicate", "stale"):
        return unclaimed._replace(place="acking")
    if answer == "reused":
        return unclaimed._replace(place="handing on", outcome="reused")
    if context.rules.held == "dropped":
        return unclaimed._replace(place="acking")
    at_work = [
        mate
        for mate in world.processes[process]
        if mate is not handler and mate.place not in ("waiting", "parked") and _is_awaited(context, mate)
    ]
    # Only the first claim waits; a handler that looks again before a send takes the answer as it is.
    if first and at_work and context.rules.held_here != "to ladder":
        return unclaimed._replace(place="waiting")
    ended = context.rules.unclaimed_ends
    return unclaimed._replace(place="handing on", outcome="ended unclaimed" if ended else "elsewhere")


def _is_awaited(context: Context, mate: Handler) -> bool:
    """Tells whether a copy waits for this handler: it does not while a publish of its forward has to be repeated."""
    return context.rules.held_here != "waits unless its forward fails" or mate.place != "renewing"


def _hold(context: Context, world: World, process: int, handler: Handler) -> Moves:
    """Releases the claim and keeps the message, because nothing can be sent now."""
    kept = handler._replace(place="parked", holds=False, covered=False)
    words = f"process {process} can send nothing, releases {handler.copy}"
    yield Move(words, True, partial(_release, context, world, process, handler, kept))
    if handler.holds and not handler.late and (spent := spend(world, "late")):
        unsure = kept._replace(holds=True, late="release")
        words += ", Redis is silent, the command is on its way"
        yield Move(words, True, partial(put, spent, process, handler, unsure))


def _release(context: Context, world: World, process: int, handler: Handler, after: Handler) -> World:
    if handler.holds:
        world = world._replace(record=released(context.rules, handler.copy))
    return put(world, process, handler, after)


def _late_claim(context: Context, world: World, process: int, handler: Handler) -> World:
    answer, record = claim(context.rules, world.record, handler.holds, handler.copy)
    after = handler._replace(late="", holds=handler.holds or answer == "yes")
    return put(world._replace(record=record), process, handler, after)


def _late_release(context: Context, world: World, process: int, handler: Handler) -> World:
    after = handler._replace(late="")
    if not handler.holds:
        return put(world, process, handler, after)
    world = put(world, process, handler, after)
    return disown(world._replace(record=released(context.rules, handler.copy)))
