"""failed.queue on a terminal."""

import json
from collections import Counter
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from shared.failed.entry import FailedEntry
from shared.failed.results import Done, Listed, Shown

#: of the skipped, so many are named
_MOST_SKIPPED = 20
_TO_THE_SECOND = len("2026-01-01T00:00:00")


def print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_list(listed: Listed) -> None:
    console = Console(highlight=False)
    if not listed.entries:
        console.print("Nothing has failed." if not listed.scanned else f"None of {listed.scanned} is meant.")
        return
    rows = [_row(entry) for entry in listed.entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, entry in zip(rows, listed.entries, strict=True):
        _print_line(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if entry.error:
            _print_line(console, f"    {entry.error}", "dim")
    more = "; there are more" if listed.truncated else ""
    console.print(f"{len(listed.entries)} of {listed.scanned} looked at{more}")


def print_message(shown: Shown) -> None:
    console = Console(highlight=False)
    for name, value in shown.entry.document().items():
        _print_line(console, f"{name:<17} {'' if value is None else value}")
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
        _print_line(console, f"    {each.id}  {each.detail}")
    if done.truncated:
        console.print("There are more than one look reaches: repeat.")


def _print_line(console: Console, line: str, style: str = "") -> None:
    """Another service may have written it: no markup, no escape sequences. Never cut: an id must come out whole."""
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line.rstrip())
    console.print(Text(printable, style=style), soft_wrap=True)


def _row(entry: FailedEntry) -> tuple[str, ...]:
    tries = f"{entry.attempts} {'try' if entry.attempts == 1 else 'tries'}"
    at = entry.failed_at[:_TO_THE_SECOND].replace("T", " ")
    return entry.id, at, entry.reason, entry.queue, tries, entry.request_id or ""
