"""Compares the ledgers of a scenario with the promises of the product (invariants I1 to I13). It is the only checker.

``tests.faults.devices.rules`` has those that are about devices.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from shared.message.channels import CHANNELS
from tests.faults.devices.rules import DEVICE_RULES
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.ledgers import PERMANENT, Answer, Call, Key, Ledgers

#: every request is answered within this time, in spite of any fault, seconds
ANSWER_S = 8.0
#: tolerance for two clocks of one machine, and for times that are written to the millisecond, seconds
CLOCK_S = 0.002
#: file descriptors, threads and memory may grow by this share over ten reconnections
GROWTH = 0.10
#: they may also grow by at least this number: one more descriptor out of ten is not a leak
SLACK = {"fds": 3.0, "threads": 1.0, "memory_mb": 8.0}
#: the statuses that a gateway may answer
PROMISED = (200, 202, 409, 422, 429, 503)
#: number of examples shown for a violation
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """Describes one broken promise: ``I1`` to ``I13``, and what was seen."""

    invariant: str
    seen: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.seen}"


def check(ledgers: Ledgers, bounds: Bounds) -> list[Violation]:
    """Returns every broken promise; [] if all were kept."""
    return [Violation(name, seen) for name, rule in _RULES.items() for seen in rule(ledgers, bounds)]


def _nothing_lost(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    if led.lost:
        yield f"{led.lost} lost, such as {_some(led.missing)}"
    if led.held:
        yield f"still in the broker: {dict(led.held)}"


def _nothing_invented(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    invented = led.delivered - led.attempted
    if invented:
        yield f"{len(invented)} delivered that nobody sent, such as {_some(invented)}"


def _doubles_bounded(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    doubles = led.doubles
    if bounds.doubles_exactly is not None:
        if doubles != bounds.doubles_exactly:
            yield f"{doubles} sent twice, exactly {bounds.doubles_exactly} expected"
    elif doubles > bounds.doubles:
        yield f"{doubles} sent twice, at most {bounds.doubles} allowed, such as {_some(_twice(led.calls))}"
    if doubles > led.explained + bounds.uncounted_doubles:
        yield f"{doubles} sent twice, only {led.explained} counted ({dict(led.counted)})"


def _no_overlap(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    if bounds.overlaps:
        return
    overlapping = []
    for key, calls in _by_target(led.calls).items():
        in_order = sorted(calls, key=lambda call: call.at)
        if any(_end(earlier) > later.at + CLOCK_S for earlier, later in pairwise(in_order)):
            overlapping.append(key)
    if overlapping:
        yield f"{len(overlapping)} were being sent twice at the same time, such as {_some(overlapping)}"


def _it_drains(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    if led.drained_at is None:
        yield f"not empty {bounds.drain_s:.0f} s after healing"
    after = [call.at for call in led.calls if call.at > led.healed_at]
    if after and min(after) - led.healed_at > bounds.first_s:
        yield f"first delivery {min(after) - led.healed_at:.1f} s after healing, at most {bounds.first_s:.0f} s allowed"


def _permanent_is_not_retried(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    retried = [entry for entry in led.failed if entry.reason in PERMANENT and entry.attempts > 1]
    if retried:
        yield f"{len(retried)} permanent refusals were tried again, such as {retried[0]}"
    beyond = {
        key: calls
        for key, calls in led.tries.items()
        if calls > CHANNELS[key[0]].max_attempts + bounds.calls_more + led.explained
    }
    if beyond:
        yield f"{len(beyond)} exceeded the maximum of attempts, such as {_some(beyond.items())}"
    yield from _reasons(led, bounds)
    if not bounds.ends_twice:
        yield from _one_end(led)


def _reasons(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    found = Counter(entry.reason for entry in led.failed)
    for reason in sorted({*found, *bounds.failed}):
        wanted = bounds.failed.get(reason, 0)
        least, most = (wanted, wanted) if isinstance(wanted, int) else wanted
        if not least <= found[reason] <= most:
            yield f"{found[reason]} in failed.queue for {reason}, expected {_range(least, most)}"


def _one_end(led: Ledgers) -> Iterator[str]:
    # A request_id that was used again for another body makes another message: its entry is no end of the first one.
    ends = Counter(entry.key for entry in led.failed if entry.key and entry.reason != "request_id_reused")
    ends.update(led.delivered)
    ends.update(led.skipped)
    several = {key for key, times in ends.items() if times > 1}
    if several:
        yield f"{len(several)} ended more than once, such as {_some(several)}"


def _the_gateway_tells_the_truth(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    if not led.accepted <= led.attempted:
        yield f"accepted without having been sent: {_some(led.accepted - led.attempted)}"
    strange = Counter(a.status for a in led.answers if a.status not in PROMISED and not _killed(a, bounds))
    if strange:
        yield f"answers that were not promised (0: none at all): {dict(strange)}"
    silent = [a for a in led.answers if a.status == 503 and a.what.startswith("POST") and not a.retry_after]
    if silent:
        yield f"{len(silent)} answers 503 without Retry-After"


def _killed(answer: Answer, bounds: Bounds) -> bool:
    """Returns whether a request got no answer because a gateway was down on purpose while it was in progress."""
    until = answer.at + answer.seconds
    return not answer.status and any(down <= until and answer.at <= up for down, up in bounds.gateway_down)


def _it_answers(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    slow = [answer for answer in led.answers if answer.seconds > ANSWER_S]
    if slow:
        worst = max(slow, key=lambda answer: answer.seconds)
        yield f"{len(slow)} requests took over {ANSWER_S:.0f} s, the slowest {worst.seconds:.1f} s ({worst.what})"
    if bounds.p99_s is not None and led.answers:
        p99 = percentile([answer.seconds for answer in led.answers], 0.99)
        if p99 > bounds.p99_s:
            yield f"p99 of the answers {p99:.3f} s, at most {bounds.p99_s:.3f} s allowed"


def _nothing_leaks(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    for process in led.resources:
        for name, before in process.before.items():
            allowed = before + max(before * GROWTH, SLACK[name])
            if process.after[name] > allowed:
                yield f"{process.process}: {name} grew from {before:.0f} to {process.after[name]:.0f}"


_RULES: dict[str, Callable[[Ledgers, Bounds], Iterator[str]]] = {
    "I1": _nothing_lost,
    "I2": _nothing_invented,
    "I3": _doubles_bounded,
    "I4": _no_overlap,
    "I5": _it_drains,
    "I6": _permanent_is_not_retried,
    "I7": _the_gateway_tells_the_truth,
    "I8": _it_answers,
    "I9": _nothing_leaks,
    **DEVICE_RULES,
}


def percentile(values: Iterable[float], share: float) -> float:
    """Returns the smallest value that is not below ``share`` of them. Raises IndexError for no values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)]


def _by_target(calls: Iterable[Call]) -> dict[tuple[Key, str], list[Call]]:
    found: dict[tuple[Key, str], list[Call]] = defaultdict(list)
    for call in calls:
        found[call.key, call.target].append(call)
    return found


def _twice(calls: Iterable[Call]) -> list[tuple[Key, str]]:
    return [target for target, found in _by_target(calls).items() if len(found) > 1]


def _end(call: Call) -> float:
    # A call that was never answered is over when its caller has gone. No one knows when that was, so the call overlaps
    # nothing.
    return call.at if call.ended_at is None else call.ended_at


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _some(things: Iterable[object]) -> str:
    return ", ".join(str(thing) for thing in sorted(things, key=str)[:SHOWN])
