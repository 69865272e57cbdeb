"""Prints messages of failed.queue on a terminal or as JSON."""

import json
from collections import Counter
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from shared.failed.results import FailedItem, FailedList, FailedMessage, FailedOutcome

#: At most this number of skipped messages is named.
_MOST_SKIPPED = 20
_TO_THE_SECOND = len("2026-01-01T00:00:00")


def print_json(document: BaseModel | dict[str, Any]) -> None:
    plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    click.echo(json.dumps(plain, indent=2, ensure_ascii=False))


def print_list(listed: FailedList) -> None:
    console = Console(highlight=False)
    if not listed.items:
        console.print("failed.queue is empty." if not listed.scanned else f"None of {listed.scanned} matches.")
        return
    rows = [_row(item) for item in listed.items]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, item in zip(rows, listed.items, strict=True):
        _print_line(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if item.error:
            _print_line(console, f"    {item.error}", "dim")
    more = "; there are more" if listed.truncated else ""
    console.print(f"{len(listed.items)} of {listed.scanned} looked at{more}")


def print_message(shown: FailedMessage) -> None:
    console = Console(highlight=False)
    for name, value in shown.model_dump(exclude={"envelope"}).items():
        _print_line(console, f"{name:<17} {'' if value is None else value}")
    if shown.envelope is None:
        console.print("The body is not a JSON object.")
    else:
        print_json(shown.envelope)


def print_outcome(verb: str, done: FailedOutcome) -> None:
    console = Console(highlight=False)
    if done.dry_run:
        console.print(f"{done.matched - len(done.skipped)} of {done.matched} would be {verb}; nothing was changed.")
    else:
        console.print(f"{done.done} of {done.matched} {verb}.")
    for reason, count in Counter(each.reason for each in done.skipped).items():
        console.print(f"{count} left in failed.queue: {reason}")
    for each in done.skipped[:_MOST_SKIPPED]:
        _print_line(console, f"    {each.id}  {each.detail}")
    if done.truncated:
        console.print("There are more messages than one scan reaches: repeat the command.")


def _print_line(console: Console, line: str, style: str = "") -> None:
    """Prints a line that another service may have written: without markup or escape sequences, and never cut, because
    an id must be printed whole.
    """
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line.rstrip())
    console.print(Text(printable, style=style), soft_wrap=True)


def _row(item: FailedItem) -> tuple[str, ...]:
    tries = f"{item.attempts} {'try' if item.attempts == 1 else 'tries'}"
    at = (item.failed_at or "")[:_TO_THE_SECOND].replace("T", " ")
    return item.id, at, item.reason, item.queue or "", tries, item.request_id or "", item.client or ""
