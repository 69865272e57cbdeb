"""Implements ``./notify trace REQUEST_ID``: reads the timeline in the database, and prints it as a story."""

import click

from ops.errors import BadSetting, OpsError
from ops.servers.addresses import shown_database
from ops.servers.local import product_settings
from ops.settings import load
from ops.terminal import Terminal
from ops.trace.story import stories
from shared.errors import SchemaMismatch, StoreUnavailable
from shared.store.store import Store
from shared.store.timeline.timeline import Timeline

#: What stands for the senders without an API key.
_NO_CLIENT = "anonymous"


@click.command()
@click.argument("request_id")
@click.option("--client", help="Only the notification of this client; anonymous is who sends without a key.")
def trace(request_id: str, client: str | None) -> None:
    """Tell what became of the notification REQUEST_ID, on each of its channels.

    The exit code is 1 if nothing is known of it.
    """
    settings = product_settings(load())
    store = Store(settings.database.url, connections=1)
    try:
        store.check_schema()
        rows, told = Timeline(store.database).of_request(request_id, "" if client == _NO_CLIENT else client)
    except SchemaMismatch as exc:
        raise BadSetting(str(exc)) from exc
    except StoreUnavailable as exc:
        raise OpsError(f"Database {shown_database(settings.database.url)}: {exc}") from exc
    finally:
        store.close()
    if not rows:
        raise OpsError(f"Nothing is known of {request_id}: it was never accepted, or longer ago than EVENTS_DAYS.")
    terminal = Terminal()
    for line in stories(rows, told):
        terminal.print(line)
