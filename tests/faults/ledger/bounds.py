"""Defines what a scenario's own faults may cost. The default is: nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Bounds:
    """Holds the limits. The scenario sets them, some only once it knows what it did (how many processes it killed, for
    example).
    """

    #: most second sends; 0: no recipient gets anything twice
    doubles: int = 0
    #: the exact number of second sends, if the fault leaves no room for chance
    doubles_exactly: int | None = None
    #: True if a lease may run out while its holder is still sending
    overlaps: bool = False
    #: reason in failed.queue -> the exact number of messages, or (least, most) if it depends on chance
    failed: dict[str, int | tuple[int, int]] = field(default_factory=dict)
    #: True if one message may end twice: it was replayed, or a provider's answer was lost on the last attempt
    ends_twice: bool = False
    #: calls to the providers that one message may need beyond its channel's maximum (a replay begins anew)
    calls_more: int = 0
    #: limit from the end of the fault until every queue is empty, seconds
    drain_s: float = 60.0
    #: limit from the end of the fault to the first delivery, seconds
    first_s: float = 30.0
    #: 99 of 100 requests are answered within this time, seconds; None: there was a fault, so it is not checked
    p99_s: float | None = None
    #: when a gateway was down on purpose (from, to; Unix seconds): requests in progress then may get no answer
    gateway_down: list[tuple[float, float]] = field(default_factory=list)
    #: second sends that no counter of the product could see (because the sandbox itself was told to forget, for
    #: example)
    uncounted_doubles: int = 0
    #: each change is on each connected device within this time, seconds; None: it is not checked
    stale_s: float | None = None
    #: limit from empty queues until every device shows what the store has, seconds
    equal_s: float = 15.0
    #: close code -> most connections of devices that end with it (1006: they are cut)
    ends: dict[int, int] = field(default_factory=dict)
    #: how often devices may be told to forget everything and start anew
    resets: int = 0
