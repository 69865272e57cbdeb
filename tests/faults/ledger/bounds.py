"""What a scenario's own faults may cost. The default is: nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Bounds:
    """Set by the scenario, some of it only once it knows what it did (how many processes it killed, say)."""

    #: second sends at most; 0: nobody gets anything twice
    doubles: int = 0
    #: exactly so many instead, where the fault leaves no room for chance
    doubles_exactly: int | None = None
    #: a lease may run out while its holder is still sending
    overlaps: bool = False
    #: reason in failed.queue -> how many, exactly; (least, most) where chance has a say
    failed: dict[str, int | tuple[int, int]] = field(default_factory=dict)
    #: one message may end twice: replayed, or a provider's answer was lost on the last attempt
    ends_twice: bool = False
    #: calls that may reach the providers for one message beyond its channel's maximum (a replay begins anew)
    calls_more: int = 0
    #: every queue is empty so many seconds after the fault is over
    drain_s: float = 60.0
    #: the first delivery after the fault is over, seconds
    first_s: float = 30.0
    #: 99 of 100 requests are answered within so many seconds; None: there was a fault
    p99_s: float | None = None
    #: when a gateway was down on purpose (from, to; Unix seconds): requests under way then may go without an answer
    gateway_down: list[tuple[float, float]] = field(default_factory=list)
    #: second sends that no counter of ours could see (the sandbox itself was told to forget, say)
    uncounted_doubles: int = 0
