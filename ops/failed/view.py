"""Prints messages of failed.queue on a terminal or as JSON."""

from collections import Counter
from typing import Any

from pydantic import BaseModel
from rich.text import Text

from ops.terminal import Terminal
from shared.failed.results import FailedItem, FailedList, FailedMessage, FailedOutcome
from shared.process.printable import printable

#: At most this number of skipped messages is named.
_MOST_SKIPPED = 20
_TO_THE_SECOND = len("2026-01-01T00:00:00")


def print_json(document: BaseModel | dict[str, Any]) -> None:
    Terminal().write_json(document)


def print_list(listed: FailedList) -> None:
    console = Terminal()
    if not listed.items:
        console.print(_nothing(listed))
        return
    rows = [_row(item) for item in listed.items]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, item in zip(rows, listed.items, strict=True):
        _print_line(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if item.error:
            _print_line(console, f"    {item.error}", "dim")
    if listed.matched > len(listed.items) or len(listed.reasons) > 1:
        _print_line(console, ", ".join(f"{count} {reason}" for reason, count in listed.reasons.items()))
    if listed.matched > len(listed.items):
        console.print(f"{len(listed.items)} of {listed.matched} that match; --limit shows more")
    console.print(f"{len(listed.items)} of {listed.scanned} looked at{_unseen(listed)}")


def print_message(shown: FailedMessage) -> None:
    console = Terminal()
    _print_fields(console, shown.model_dump(exclude={"envelope", "unreadable"}))
    if shown.envelope is not None:
        print_json(shown.envelope)
    if shown.unreadable is not None:
        console.print("The body is not a JSON object, or nested too deep.")
        _print_fields(console, shown.unreadable.model_dump(exclude={"headers", "text", "complete"}))
        for name, value in shown.unreadable.headers.items():
            _print_line(console, f"header {name}: {value}")
        console.print("body:" if shown.unreadable.complete else "the beginning of the body (--reveal shows more):")
        _print_line(console, shown.unreadable.text)


def print_outcome(verb: str, done: FailedOutcome) -> None:
    console = Terminal()
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


def _nothing(listed: FailedList) -> str:
    if not listed.scanned:
        return "failed.queue is empty."
    return f"None of {listed.scanned} matches{_unseen(listed)}."


def _unseen(listed: FailedList) -> str:
    return f"; there are {listed.waiting} in the queue" if listed.waiting > listed.scanned else ""


def _print_fields(console: Terminal, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        _print_line(console, f"{name:<17} {'' if value is None else value}")


def _print_line(console: Terminal, line: str, style: str = "") -> None:
    """Prints what another service may have written on one line."""
    console.print(Text(printable(line.rstrip()), style=style))


def _row(item: FailedItem) -> tuple[str, ...]:
    tries = f"{item.attempts} {'try' if item.attempts == 1 else 'tries'}"
    at = (item.failed_at or "")[:_TO_THE_SECOND].replace("T", " ")
    return item.id, at, item.reason, item.queue or "", tries, item.request_id or "", item.client or ""
