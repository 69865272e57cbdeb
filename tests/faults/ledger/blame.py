"""Finds out which death of a worker has caused which second send."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from tests.faults.harness.member import Member
from tests.faults.ledger.ledgers import Key, Ledgers


def second_sends_by_death(ledgers: Ledgers, worker: Member) -> list[int]:
    """Returns the number of second sends that each death of the only worker has caused, in order, with one more entry
    for those after the last death.

    A message was in flight at the first death after its first send.
    """
    deaths = [end.at for end in worker.ends]
    first_sends: dict[Key, float] = {}
    blamed: Counter[int] = Counter()
    for call in sorted(ledgers.calls, key=lambda call: call.at):
        if call.key in first_sends:
            blamed[bisect_left(deaths, first_sends[call.key])] += 1
        else:
            first_sends[call.key] = call.at
    return [blamed[number] for number in range(len(deaths) + 1)]
