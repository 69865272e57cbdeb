"""Searches breadth first, so that the way to the first broken promise is a shortest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tests.models.claims import liveness
from tests.models.claims.accounts import wrong_with
from tests.models.claims.moves import moves
from tests.models.claims.moves.context import Context
from tests.models.claims.rules import Rules
from tests.models.claims.scenarios import Scenario
from tests.models.claims.state import World, canonical

#: A small machine has no memory for more states than this.
MOST_STATES = 6_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """Holds the result: ``wrong`` is '' if no promise is broken; else ``way`` lists the moves to it, in words."""

    states: int
    wrong: str = ""
    way: Sequence[str] = ()

    def __str__(self) -> str:
        steps = [f"{number:4}. {words}" for number, words in enumerate(self.way, 1)]
        return "\n".join([self.wrong or "nothing is wrong", *steps])


@dataclass(slots=True)
class Graph:
    """Holds the states found so far; each but the first has the state that it was found from."""

    states: list[World]
    parents: list[int]
    edges: list[list[liveness.Edge]]


def explore(rules: Rules, scenario: Scenario) -> Found:
    """Visits every state. Raises MemoryError beyond MOST_STATES."""
    context = Context(rules, scenario)
    start = canonical(scenario.start())
    numbers, todo = {start: 0}, deque([0])
    graph = Graph([start], [-1], [])
    while todo:
        number = todo.popleft()
        out: list[liveness.Edge] = []
        for move in moves(context, graph.states[number]):
            found = canonical(move.make())
            known = numbers.get(found)
            if known is None:
                known = numbers[found] = len(graph.states)
                graph.states.append(found)
                graph.parents.append(number)
                todo.append(known)
                if wrong := wrong_with(found):
                    return Found(len(graph.states), wrong, _way(context, graph, known))
            out.append((known, move.is_fault))
        graph.edges.append(out)
        if len(graph.states) > MOST_STATES:
            raise MemoryError(f"more than {MOST_STATES} states")
    return _live(context, graph)


def _live(context: Context, graph: Graph) -> Found:
    stuck = liveness.without_end(graph.states, graph.edges)
    if stuck is not None:
        return Found(len(graph.states), "no end can be reached any more", _way(context, graph, stuck))
    bouncing = liveness.bouncing(context.rules, graph.states, graph.edges)
    if bouncing is not None:
        words = "nobody holds a lease, and yet every copy is sent away, for ever"
        return Found(len(graph.states), words, _way(context, graph, bouncing))
    return Found(len(graph.states))


def _way(context: Context, graph: Graph, number: int) -> list[str]:
    """Lists the moves that lead there. Each process keeps its number on the way: the worlds are not canonical here."""
    path = []
    while number:
        path.append(graph.states[number])
        number = graph.parents[number]
    world, words = graph.states[0], []
    for wanted in reversed(path):
        move, world = next((move, made) for move in moves(context, world) if canonical(made := move.make()) == wanted)
        words.append(move.words)
    return words
