"""Implements ``./notify failed``, which shows, replays and discards undeliverable messages."""

import asyncio
import getpass
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from ops.errors import BadSetting, LockedByAnother, OpsError
from ops.failed.action_log import log_actions
from ops.failed.view import print_json, print_list, print_message, print_outcome
from ops.servers.addresses import shown_addresses
from ops.servers.local import product_settings
from ops.settings import load
from shared.errors import BrokerUnavailable, InvalidSelection, Locked
from shared.failed.queue import FailedQueue
from shared.failed.results import FailedOutcome
from shared.failed.selection import parse_discard, parse_listing, parse_replay

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

#: At most this number of ids that were not found is named.
_MOST_NAMED = 20

_FILTERS = (
    click.option("--channel", help="Select messages of this channel."),
    click.option("--reason", help="Select messages that failed for this reason."),
    click.option("--request-id", help="Select messages of this request."),
    click.option("--client", help="Select messages of this client."),
    click.option("--older-than", metavar="AGE", help="Select messages that failed at least AGE ago: 90s, 15m, 2h, 3d."),
    click.option("--limit", type=int, help="Select at most this number of messages, the oldest first."),
)
_SELECTION = (
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    *_FILTERS,
    click.option("--all", is_flag=True, help="Select all messages; needed if no other option selects some."),
    click.option("--dry-run", is_flag=True, help="Only show what would be done."),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the JSON that the gateway would answer.")


def _with(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


@click.group()
def failed() -> None:
    """Show undeliverable messages, send them again, or delete them.

    Only one operator can work at a time: the exit code is 5 while another one does.
    """


@failed.command("list")
@_with(*_FILTERS, _JSON)
def list_failed(as_json: bool, **filters: Any) -> None:
    """List failed messages, oldest first. The queue is not changed."""
    listed = _run(lambda queue, _: queue.list(parse_listing(_given(filters))))
    print_json(listed) if as_json else print_list(listed)


@failed.command()
@click.argument("failed_id", metavar="ID")
@click.option("--reveal", is_flag=True, help="Show addresses in full; this is logged.")
@_JSON
def show(failed_id: str, reveal: bool, as_json: bool) -> None:
    """Show one failed message and its content."""
    shown = _run(lambda queue, operator: queue.show(failed_id, reveal=reveal, operator=operator))
    if shown is None:
        raise OpsError(f"There is no failed message {failed_id}.")
    print_json(shown) if as_json else print_message(shown)


@failed.command()
@_with(*_SELECTION)
@click.option("--ignore-expiry", is_flag=True, help="Also send messages whose expiry time has passed.")
@_JSON
def replay(as_json: bool, **selection: Any) -> None:
    """Send failed messages again, each in its original lane."""
    done = _run(lambda queue, operator: queue.replay(parse_replay(_given(selection)), operator=operator))
    print_json(done) if as_json else print_outcome("replayed", done)
    _check(done)


@failed.command()
@_with(*_SELECTION, _JSON)
def discard(as_json: bool, **selection: Any) -> None:
    """Delete failed messages. They cannot be restored."""
    done = _run(lambda queue, operator: queue.discard(parse_discard(_given(selection)), operator=operator))
    print_json(done) if as_json else print_outcome("discarded", done)
    _check(done)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the selectors that the user has written."""
    ids = options.pop("ids", None)
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return {**given, "ids": list(ids)} if ids else given


def _run(operation: Callable[[FailedQueue, str], Coroutine[Any, Any, T]]) -> T:
    """Carries out one operation on the broker of the running system. Raises OpsError with the matching exit code."""
    configuration = load()
    settings = product_settings(configuration)
    log_actions(configuration.place)
    try:
        return asyncio.run(operation(FailedQueue(settings), f"{getpass.getuser()} (./notify)"))
    except InvalidSelection as exc:
        raise BadSetting("\n".join(_option(*problem) for problem in exc.problems)) from exc
    except Locked as exc:
        raise LockedByAnother("Another operator is working on failed.queue; try again in a moment.") from exc
    except BrokerUnavailable as exc:
        raise OpsError(f"{exc} ({shown_addresses(settings.broker.url)})\nCheck that it runs: ./notify status") from exc


def _option(field: str, why: str) -> str:
    if field == "all":
        return "Select messages by IDs, --request-id, --client, --channel, --reason, --older-than, or --all."
    name = field.partition(".")[0]
    return f"{'ID' if name == 'ids' else '--' + name.replace('_', '-')}: {why}"


def _check(done: FailedOutcome) -> None:
    unconfirmed = sum(each.reason == "unconfirmed" for each in done.skipped)
    if unconfirmed:
        raise OpsError(f"The broker has not confirmed {unconfirmed}; they are still in failed.queue. Try again.")
    if done.missing:
        where = "among the messages that one scan reached" if done.truncated else "in failed.queue"
        more = f" and {len(done.missing) - _MOST_NAMED} more" if len(done.missing) > _MOST_NAMED else ""
        raise OpsError(f"Not {where}: {', '.join(done.missing[:_MOST_NAMED])}{more}")
