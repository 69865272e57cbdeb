"""Implements ``./notify store``: migrations, a look at the database, and what must follow a restore."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.table import Table

from ops.errors import AlreadyRunning, BadSetting, OpsError
from ops.servers.addresses import shown_database
from ops.servers.local import product_settings
from ops.settings import Configuration, load
from ops.terminal import Terminal
from shared.errors import SchemaMismatch, StoreUnavailable
from shared.store import schema
from shared.store.store import Store


@click.group()
def store() -> None:
    """Migrate and keep the database of the inboxes (DATABASE_URL)."""


@store.command()
def upgrade() -> None:
    """Bring the tables to this version. It does nothing if they are; ./notify up does it by itself."""
    for line in migrate(load()):
        Terminal().print(line)


@store.command()
def status() -> None:
    """Show the database, and whether its tables fit this version. The exit code is 2 if they do not."""
    configuration = load()
    with _opened(configuration) as opened:
        revision = schema.revision_of(opened.database)
        table = Table(box=None, show_header=False)
        table.add_row("database", shown_database(product_settings(configuration).database.url))
        table.add_row("tables", f"{revision or 'none'} (this version has {schema.REVISIONS[-1]})")
        if revision == schema.REVISIONS[-1]:
            counts = opened.totals()
            table.add_row("inboxes", f"{counts.inboxes:,}")
            table.add_row("notifications", f"{counts.notifications:,}, of which unread {counts.unread:,}")
            table.add_row("tombstones", f"{counts.tombstones:,}")
            table.add_row("size", f"{counts.size_bytes / 1e6:,.1f} MB")
        Terminal().print(table, soft_wrap=False)
        opened.check_schema()


@store.command()
def restored() -> None:
    """Say that the database was put back from a backup, before anything else opens it.

    Devices have seen changes that are not in it any more. Each inbox gets a fresh epoch, so that every device starts
    anew instead of taking the next changes for those.
    """
    configuration = load()
    if configuration.place.keeper.living() is not None:
        raise AlreadyRunning("Stop the system first: ./notify down")
    with _opened(configuration) as opened:
        opened.check_schema()
        count = opened.restored()
    Terminal().print(f"{count} inboxes have a fresh epoch; every device starts anew.")


@store.command()
def tidy() -> None:
    """Remove what is expired or older than INBOX_DAYS, and the traces of what was removed 7 days ago."""
    configuration = load()
    with _opened(configuration) as opened:
        opened.check_schema()
        changed = [*opened.expire(), *opened.retain(configuration.product.database.inbox_days)]
        removed = sum(len(change.rows) for changes in changed for change in changes)
        purged = opened.purge()
    Terminal().print(f"{removed} notifications are removed, and {purged} traces of earlier ones.")


def migrate(configuration: Configuration) -> list[str]:
    """Brings the tables to this version. Returns what it did, one line each. Raises OpsError."""
    with _opened(configuration) as opened:
        applied = schema.upgrade(opened.database)
    where = shown_database(product_settings(configuration).database.url)
    return [f"Database: {where}, {f'upgraded to {applied[-1]}' if applied else 'up to date'}"]


@contextmanager
def _opened(configuration: Configuration) -> Iterator[Store]:
    """Yields the store; turns its errors into those of the command."""
    opened = Store(product_settings(configuration).database.url, connections=1)
    try:
        yield opened
    except SchemaMismatch as exc:
        raise BadSetting(str(exc)) from exc
    except StoreUnavailable as exc:
        where = shown_database(product_settings(configuration).database.url)
        raise OpsError(f"Database {where}: {exc}") from exc
    finally:
        opened.close()
