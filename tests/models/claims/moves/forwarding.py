"""Forwards a copy to the ladder or to failed.queue: publish until confirmed, record, ack."""

from __future__ import annotations

from functools import partial

from tests.models.claims.accounts import entered, entered_reused, excuse
from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import UNCLAIMED, Copy, Handler, LateCommand, Move, Moves, World, disown, plus, put
from tests.models.claims.store import claim, floor_after, record_forward, released

_TO = {
    "retry": "the next attempt goes to the ladder",
    "dead": "it goes to failed.queue",
    "uncounted": "it goes to the ladder, uncounted",
    "elsewhere": "it goes to the ladder, unclaimed",
    "ended unclaimed": "it goes to failed.queue, unclaimed",
    "reused": "it goes to failed.queue, its request_id was used before",
}


def forwarding(context: Context, world: World, process: int, handler: Handler) -> Moves:
    rules, about = context.rules, f"process {process} with {handler.copy}"
    if rules.ack_first and handler.attached:
        acked = handler._replace(attached=False)
        yield Move(f"{about}: acks first", False, partial(put, world, process, handler, acked))
        return
    if rules.record_first and _records(context, handler):
        recording = handler._replace(place="recording")
        yield Move(f"{about}: records first", False, partial(put, world, process, handler, recording))
        return
    if not (handler.attached or rules.ack_first) and _gives_up(context, handler):
        yield Move(f"{about}: gives it up", False, partial(_give_up, context, world, process, handler))
    words = f"{about}: {_TO[handler.outcome]}"
    after = handler._replace(place="recording" if _records(context, handler) else "acking")
    yield Move(f"{words}, confirmed", False, partial(_publish, world, process, handler, after))
    if spent := spend(world, "unconfirmed"):
        excused = excuse(spent, ends=handler.outcome == "dead")
        renews = rules.renew and handler.outcome not in UNCLAIMED
        repeats = handler._replace(place="renewing") if renews else handler
        yield Move(f"{words}, the confirm is lost", True, partial(_publish, excused, process, handler, repeats))


def renewing(context: Context, world: World, process: int, handler: Handler) -> Moves:
    """Renews the claim before a publish is repeated; the forward goes on with every answer."""
    words = f"process {process} claims {handler.copy} again before it repeats the hand-on"
    yield Move(words, False, partial(_renew, context, world, process, handler))


def recording(context: Context, world: World, process: int, handler: Handler) -> Moves:
    words = f"process {process} records the hand-on of {handler.copy}"
    after = handler._replace(place="publishing late" if context.rules.record_first else "acking")
    yield Move(words, False, partial(_record, context, world, process, handler, after))
    if spent := spend(world, "late"):
        command = LateCommand("record", handler.copy, floor_after(context.rules, handler))
        twice = spent._replace(late=plus(spent.late, command))
        yield Move(f"{words} twice, one is on its way", True, partial(_record, context, twice, process, handler, after))
    if spent := spend(world, "marker"):
        excused = excuse(spent, sends=1, ends=1, calls=1)
        words = f"process {process} gives up recording the hand-on of {handler.copy}"
        yield Move(words, True, partial(put, excused, process, handler, after))


def publishing_late(context: Context, world: World, process: int, handler: Handler) -> Moves:
    words = f"process {process} with {handler.copy}: {_TO[handler.outcome]}"
    yield Move(words, False, partial(_publish, world, process, handler, handler._replace(place="acking")))


def _gives_up(context: Context, handler: Handler) -> bool:
    """Tells whether a forward ends whose delivery can no longer be acked: the broker has redelivered the copy."""
    if context.rules.channel_lost == "unclaimed given up":
        return handler.outcome in UNCLAIMED
    return context.rules.channel_lost != "goes on"


def _records(context: Context, handler: Handler) -> bool:
    return handler.outcome not in UNCLAIMED or context.rules.unclaimed_records


def _publish(world: World, process: int, handler: Handler, after: Handler) -> World:
    world = put(world, process, handler, after)
    copy = handler.copy
    match handler.outcome:
        case "dead" | "ended unclaimed":
            return entered(world, copy)
        case "reused":
            return entered_reused(world, copy)
    attempt = copy.attempt + (handler.outcome == "retry")
    return world._replace(ladder=plus(world.ladder, Copy(copy.life, attempt, copy.body)))


def _renew(context: Context, world: World, process: int, handler: Handler) -> World:
    answer, record = claim(context.rules, world.record, handler.holds, handler.copy)
    again = handler._replace(place="handing on", holds=answer == "yes")
    return put(world._replace(record=record), process, handler, again)


def _record(context: Context, world: World, process: int, handler: Handler, after: Handler) -> World:
    n = floor_after(context.rules, handler)
    record = record_forward(context.rules, world.record, handler.holds, handler.copy, n)
    world = put(world, process, handler, after)
    return world if record == world.record else disown(world._replace(record=record))


def _give_up(context: Context, world: World, process: int, handler: Handler) -> World:
    if handler.holds and context.rules.channel_lost == "given up and released":
        world = world._replace(record=released(context.rules, handler.copy))
    return put(world, process, handler, None)
