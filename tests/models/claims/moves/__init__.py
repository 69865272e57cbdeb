"""Lists what can happen next, in one file per actor."""

from __future__ import annotations

from tests.models.claims.moves import broker, handlers, operator, processes, store_moves
from tests.models.claims.moves.context import Context
from tests.models.claims.state import Moves, World


def moves(context: Context, world: World) -> Moves:
    """Yields every next move; the same worlds give the same moves in the same order."""
    yield from broker.moves(context, world)
    yield from handlers.moves(context, world)
    yield from processes.moves(context, world)
    yield from store_moves.moves(context, world)
    yield from operator.moves(context, world)
