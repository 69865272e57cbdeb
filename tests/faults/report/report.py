"""Writes ``docs/reliability.md`` and the sentence in the README from the results of the last whole run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from tests.faults.harness.scale import DEAD_LETTER_REPEAT_S, FACTOR
from tests.faults.harness.trial import Result
from tests.faults.mutations.trial import Verdict

#: the command writes the text between these two marks in the README
MARK, END_MARK = "<!-- reliability -->", "<!-- /reliability -->"

_HEAD = f"""# Reliability: what is lost, and what is sent twice

Written by `./notify prove`; do not edit. Anybody can run it again: it starts its own RabbitMQ, Redis and stand-in
providers, sends through the gateway and straight onto the queues, breaks something, heals it, waits until every queue
is empty, and compares what was accepted with what the providers got and what is in `failed.queue`. Where devices show
inboxes, up to 1 000 of them keep the rules of the Python client, and what they show is compared with the store.

Leases, the retry ladder, breakers and pauses are {FACTOR} times shorter than in production, all by the same factor, and
the broker repeats held dead letters after {DEAD_LETTER_REPEAT_S:.0f} s instead of 180 s; the ladder's real first four
levels are run once as they are. Where no lease has to run out, leases and the time that a call may take are as long as
in production, so that a busy machine is not taken for a fault.
"""

_COLUMNS = """**accepted**: answered 202, or confirmed when published directly. **recovered**: answered 503 or not at
all, and stored all the same. **doubled**: sent to a provider more often than once, of how many the fault allows; each
was counted by the product itself. **dead**: in `failed.queue`. **LOST**: accepted, and nowhere. **recovery**: from the
end of the fault until every queue was empty.
"""

_DEVICE_COLUMNS = """**devices**: connected over WebSockets. **shown**: changes that they showed while they were
connected. **holes**: rows that one of them lacked or showed differently from the store, and frames that did not follow
on its position.
**doubles**: changes that came twice on a connection, and notifications that were announced twice. **latest**: longest
time from a change until a connected device showed it, where that is bounded. **ended**: connections that the scenario's
faults, or the nodes, have ended, by close code (1006: cut).
"""

_MUTATIONS = """## Would it notice?

The same scenarios against copies of the product in which one line was replaced. Each must be caught, for the right
reason.

| defect | what it does | caught by | which said |
| --- | --- | --- | --- |"""


def totals(results: Sequence[Result], verdicts: Sequence[Verdict]) -> str:
    """Returns one sentence for the README."""
    accepted, doubled = sum(r.accepted for r in results), sum(r.duplicated for r in results)
    kept = sum(not r.broken for r in results)
    text = (
        f"{kept} of {len(results)} runs of {len({r.name for r in results})} fault scenarios kept every promise: of "
        f"{_number(accepted)} accepted messages {sum(r.lost for r in results)} were lost and {_number(doubled)} were "
        "sent twice, each one counted"
    )
    if verdicts:
        caught = sum(bool(v.caught_by) for v in verdicts)
        text += f"; {caught} of {len(verdicts)} deliberate defects were caught"
    devices = [r for r in results if r.devices]
    if devices:
        text += (
            f"; {_number(sum(r.devices for r in devices))} devices showed {_number(sum(r.shown for r in devices))} "
            f"changes of inboxes with {sum(r.holes for r in devices)} holes and {sum(r.repeated for r in devices)} "
            "doubles"
        )
    return f"{text}."


def written(
    results: Sequence[Result], verdicts: Sequence[Verdict], machine: Mapping[str, str], seed: int, took_s: float
) -> str:
    """Returns the whole document."""
    parts = [
        _HEAD,
        totals(results, verdicts) + "\n",
        f"{machine['date']}, commit {machine['commit']}, seed {seed}, {took_s / 60:.0f} minutes on "
        f"{machine['machine']}; "
        f"{machine['system']}, Python {machine['python']}, RabbitMQ {machine['rabbitmq']}, Redis {machine['redis']}. "
        f"The same schedule again: `./notify prove --seed {seed}`.\n",
        _COLUMNS,
        *([_DEVICE_COLUMNS] if any(result.devices for result in results) else []),
    ]
    for family, rows in groupby(results, key=lambda result: result.family):
        parts.append(_family(family, list(rows)))
    if verdicts:
        parts.append(_mutations(verdicts))
    return "\n".join(parts)


def quoted(readme: str, sentence: str) -> str:
    """Returns ``readme`` with the sentence between the marks. Raises ValueError if they are missing."""
    if MARK not in readme or END_MARK not in readme:
        raise ValueError(f"the README has no {MARK} ... {END_MARK}")
    return re.sub(f"{MARK}.*?{END_MARK}", lambda _: f"{MARK}\n{sentence}\n{END_MARK}", readme, flags=re.DOTALL)


def _family(family: str, results: Sequence[Result]) -> str:
    head = (
        "| scenario | attempted | accepted | delivered | recovered | skipped | doubled | dead | LOST | recovery |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    rows = [_row(result) for result in results]
    told = [line for r in results for line in _told(r)]
    return "\n".join([f"## {family.capitalize()}\n", head, *rows, "", *_of_devices(results), *told, ""])


def _of_devices(results: Sequence[Result]) -> list[str]:
    """Returns the table of those results in which devices showed inboxes; [] if there are none."""
    rows = [
        f"| {r.name} | {r.devices} | {r.shown} | {r.holes} | {r.repeated} | {_seconds(r.longest_lag_s)} | "
        f"{_ends(r.ends)} |"
        for r in results
        if r.devices
    ]
    if not rows:
        return []
    head = (
        "| scenario | devices | shown | holes | doubles | latest | ended |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    return [head, *rows, ""]


def _row(r: Result) -> str:
    name = f"{r.name} **BROKEN**" if r.broken else r.name
    return (
        f"| {name} | {r.attempted} | {r.accepted} | {r.delivered} | {r.recovered} | {r.skipped} | "
        f"{r.duplicated} of {r.allowed} | {r.dead_lettered} | {r.lost} | {_seconds(r.recovery_s)} |"
    )


def _told(result: Result) -> list[str]:
    seed = f" (seed {result.seed})"
    lines = [f"- **{result.name}**{seed}: {result.says}"]
    lines += [f"  - {note}" for note in result.notes]
    lines += [f"  - BROKEN: {broken}" for broken in result.broken]
    return lines


def _mutations(verdicts: Sequence[Verdict]) -> str:
    rows = [f"| {v.name} | {v.does} | {v.caught_by or '**nobody**'} | {_cell(v.seen or v.problem)} |" for v in verdicts]
    return "\n".join([_MUTATIONS, *rows, ""])


def _cell(text: str, longest: int = 160) -> str:
    text = text.replace("|", "/").replace("\n", " ")
    return text if len(text) <= longest else f"{text[:longest]} ..."


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _ends(ends: Mapping[str, int]) -> str:
    return ", ".join(f"{times} with {code}" for code, times in sorted(ends.items())) or "-"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")
