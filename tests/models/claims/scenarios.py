"""Says how much goes wrong: the faults, how often each may happen, and how many of them in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.models.claims.state import Copy, World

#: Each is an event that the product does not choose; the search chooses when it happens.
FAULTS = ("crash", "channel", "unconfirmed", "flush", "freeze", "ambiguous", "uncounted", "hold", "stop", "replay",
          "replay_cut", "ladder_twice", "marker", "late")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scenario:
    """Limits one search. ``in_all``: most faults of all kinds together; ``limit``: delivery limit, 0 for none."""

    in_all: int = 0
    faults: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    copies: tuple[Copy, ...] = (Copy(0, 0), Copy(0, 0))
    processes: int = 2
    slots: int = 1
    limit: int = 0

    def start(self) -> World:
        return World(
            record=None,
            queue=tuple(sorted(self.copies)),
            ladder=(),
            failed=(),
            processes=((),) * self.processes,
            late=(),
            left=tuple(self.faults.get(fault, 0) for fault in FAULTS),
            left_in_all=self.in_all,
        )


def spend(world: World, fault: str) -> World | None:
    """Returns the world with one such fault less to come, or None if there is none left."""
    at = FAULTS.index(fault)
    if not world.left_in_all or not world.left[at]:
        return None
    left = (*world.left[:at], world.left[at] - 1, *world.left[at + 1 :])
    return world._replace(left=left, left_in_all=world.left_in_all - 1)


_ONE, _THREE = (Copy(0, 0),), (Copy(0, 0),) * 3
_BODIES = (Copy(0, 0, 0), Copy(0, 0, 1))
_ANYTHING = {fault: 2 if fault in ("crash", "replay") else 1 for fault in FAULTS}

#: Together they catch every mutant; they take a few seconds on one core.
QUICK: dict[str, Scenario] = {
    "nothing": Scenario(),
    "nothing, three copies": Scenario(copies=_THREE, slots=2),
    "a freeze": Scenario(1, {"freeze": 1}),
    "a loss in Redis": Scenario(1, {"flush": 1}),
    "a crash": Scenario(1, {"crash": 1}),
    "a channel": Scenario(1, {"channel": 1}),
    "a stop": Scenario(1, {"stop": 1}),
    "an unrecorded outcome": Scenario(1, {"marker": 1}),
    "a late command": Scenario(2, {"late": 1, "hold": 1}),
    "a replay": Scenario(2, {"replay": 1, "stop": 1}),
    "two bodies": Scenario(1, {"crash": 1, "channel": 1, "replay": 1}, copies=_BODIES),
    "a pause": Scenario(2, {"hold": 1, "uncounted": 1, "channel": 1}),
    "two crashes": Scenario(2, {"crash": 2}),
}

#: They take minutes, and gigabytes of memory.
LONG: dict[str, Scenario] = {
    "crashes and a channel": Scenario(3, {"crash": 2, "channel": 1, "unconfirmed": 1}),
    "channels": Scenario(3, {"channel": 2, "unconfirmed": 1}),
    "freeze and crash": Scenario(2, {"freeze": 1, "crash": 1, "channel": 1, "unconfirmed": 1}),
    "Redis": Scenario(3, {"flush": 1, "crash": 1, "channel": 1, "marker": 1, "late": 1}),
    "the provider": Scenario(2, {"ambiguous": 1, "uncounted": 2, "hold": 1, "crash": 1, "channel": 1}),
    "stops": Scenario(2, {"stop": 2, "channel": 1, "uncounted": 1, "hold": 1, "ladder_twice": 1}),
    "pauses": Scenario(3, {"hold": 2, "late": 1, "channel": 1, "stop": 1}),
    "replay": Scenario(2, {"replay": 1, "crash": 1, "channel": 1, "stop": 1, "unconfirmed": 1}),
    "replay cut short": Scenario(2, {"replay": 2, "replay_cut": 1, "crash": 1, "channel": 1}, copies=_ONE),
    "two bodies, more": Scenario(2, {"crash": 2, "channel": 1, "replay": 1, "flush": 1}, copies=_BODIES),
    "the delivery limit": Scenario(2, {"crash": 2, "channel": 1, "replay": 1}, limit=1),
    "any two faults": Scenario(2, _ANYTHING),
    "any three faults": Scenario(3, _ANYTHING),
    "any four faults, one copy": Scenario(4, _ANYTHING, copies=_ONE),
}
