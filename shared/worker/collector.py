"""Settings of Python's cycle collector for the processes of the product: workers and the gateway."""

from __future__ import annotations

import gc

#: objects that may be created, and stay alive, between two looks for cycles. Messages and requests leave no cycles,
#: so a steady load does not reach this number: measured, 100 000 messages with 256 of them alive need no look at all
#: (22 with Python's own 700). It decides how long a look takes: 1 ms for 20 000 objects, 5 to 13 ms for 50 000
YOUNG_OBJECTS = 20_000
#: looks at the young objects for each look at the older ones
LOOKS_PER_GENERATION = 20


def calm_collector() -> None:
    """Look for cycles less often, and never again among the objects that exist now.

    Call it once in each process, after everything is imported and open.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, LOOKS_PER_GENERATION, LOOKS_PER_GENERATION)
