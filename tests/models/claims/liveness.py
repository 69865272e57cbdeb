"""Checks that the work ends: an end stays in reach, and no copies circulate while no handler works on them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.models.claims.rules import Rules
from tests.models.claims.state import AT_WORK, UNCLAIMED, World
from tests.models.claims.store import claim

#: the number of a state, and whether a fault leads there
Edge = tuple[int, bool]


def without_end(states: Sequence[World], edges: Sequence[Sequence[Edge]]) -> int | None:
    """Returns a state from which no state is reached in which no work is in progress."""
    sources: list[list[int]] = [[] for _ in states]
    for source, out in enumerate(edges):
        for target, _ in out:
            sources[target].append(source)
    ends = [not (world.queue or world.ladder or any(world.processes)) for world in states]
    todo = [number for number, is_end in enumerate(ends) if is_end]
    while todo:
        for source in sources[todo.pop()]:
            if not ends[source]:
                ends[source] = True
                todo.append(source)
    return next((number for number, reaches in enumerate(ends) if not reaches), None)


def bouncing(rules: Rules, states: Sequence[World], edges: Sequence[Sequence[Edge]]) -> int | None:
    """Returns a state on a cycle of ordinary moves along which every claim is refused although no lease runs.

    It repeatedly removes the states without such a successor: each state that stays leads into a cycle.
    """
    left = {number for number, world in enumerate(states) if _all_refused(rules, world)}
    while True:
        dead_ends = {n for n in left if not any(target in left for target, is_fault in edges[n] if not is_fault)}
        if not dead_ends:
            return min(left, default=None)
        left -= dead_ends


def _all_refused(rules: Rules, world: World) -> bool:
    handlers = [handler for process in world.processes for handler in process]
    if world.record is None or world.record.kind == "P":
        return False
    if any(handler.place in AT_WORK and handler.outcome not in UNCLAIMED for handler in handlers):
        return False
    copies = (*world.queue, *world.ladder, *(handler.copy for handler in handlers))
    return bool(copies) and all(claim(rules, world.record, False, copy)[0] == "held" for copy in copies)
