"""Lists the moves of the operator: replays out of failed.queue."""

from __future__ import annotations

from functools import partial

from tests.models.claims.moves.context import Context
from tests.models.claims.scenarios import spend
from tests.models.claims.state import LIVES, Copy, Move, Moves, World, minus, plus


def moves(context: Context, world: World) -> Moves:
    for entry in sorted(set(world.failed)):
        spent = spend(world, "replay") if entry.life + 1 < LIVES else None
        if spent is None:
            continue
        words = f"an operator replays the entry of life {entry.life}"
        yield Move(words, True, partial(_replay, spent, entry, acked=True))
        if cut := spend(spent, "replay_cut"):
            yield Move(f"{words} and dies before its ack", True, partial(_replay, cut, entry, acked=False))


def _replay(world: World, entry: Copy, *, acked: bool) -> World:
    failed = minus(world.failed, entry) if acked else world.failed
    return world._replace(failed=failed, queue=plus(world.queue, Copy(entry.life + 1, 0, entry.body)))
