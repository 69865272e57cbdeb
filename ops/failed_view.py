"""failed.queue on a terminal."""

import json
from collections import Counter
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.failed_entry import FailedEntry
from shared.failed_results import Done, Listed, Shown

_MOST_SKIPPED = 20


def print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_list(listed: Listed) -> None:
    console = Console(highlight=False)
    if not listed.entries:
        console.print("Nothing has failed." if not listed.scanned else f"None of {listed.scanned} is meant.")
        return
    table = Table("id", "failed at", "queue", "reason", "tries", "request", "error", box=None)
    # Never cut: it is what the other commands take.
    table.columns[0].no_wrap = True
    table.columns[0].overflow = "fold"
    for entry in listed.entries:
        # As text: what another service wrote must not be read as our markup.
        table.add_row(*map(Text, _row(entry)))
    console.print(table)
    more = "; there are more" if listed.truncated else ""
    console.print(f"{len(listed.entries)} of {listed.scanned} looked at{more}")


def print_message(shown: Shown) -> None:
    console = Console(highlight=False)
    table = Table(box=None, show_header=False)
    for name, value in shown.entry.document().items():
        table.add_row(name, Text("" if value is None else str(value)))
    console.print(table)
    if shown.envelope is None:
        console.print("The body is no JSON object.")
    else:
        print_json(shown.envelope)


def print_outcome(verb: str, done: Done) -> None:
    console = Console(highlight=False)
    if done.dry_run:
        console.print(f"{done.matched - len(done.skipped)} of {done.matched} would be {verb}; nothing was changed.")
    else:
        console.print(f"{done.done} of {done.matched} {verb}.")
    for reason, count in Counter(each.reason for each in done.skipped).items():
        console.print(f"{count} left where they are: {reason}")
    for each in done.skipped[:_MOST_SKIPPED]:
        console.print(Text(f"  {each.id}  {each.detail}"))
    if done.truncated:
        console.print("There are more than one look reaches: repeat.")


def _row(entry: FailedEntry) -> tuple[str, ...]:
    return (
        entry.id,
        entry.failed_at,
        entry.queue,
        entry.reason,
        str(entry.attempts),
        entry.request_id or "",
        entry.error,
    )
