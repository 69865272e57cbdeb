"""Defines the settings of the database that keeps the inboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.settings.types import DatabaseUrl, Group, variable

#: The checkout. A relative file lies below it, from whatever directory a process is started.
_ROOT = Path(__file__).resolve().parents[3]
_SQLITE = "sqlite:///"
DEFAULT_FILE = Path(".local/store/notify.db")


class DatabaseSettings(Group):
    """Holds the address as it was set; ``url`` is the one to open."""

    given_url: Annotated[DatabaseUrl | None, variable("DATABASE_URL")] = None
    #: how long notifications stay in an inbox, days
    inbox_days: Annotated[float, Field(gt=0), variable("INBOX_DAYS")] = 90

    @property
    def url(self) -> str:
        """Returns the URL; it may hold a password. The file of SQLite is absolute in it."""
        url = f"{_SQLITE}{DEFAULT_FILE}" if self.given_url is None else self.given_url.get_secret_value()
        return f"{_SQLITE}{_ROOT / url.removeprefix(_SQLITE)}" if url.startswith(_SQLITE) else url

    @property
    def file(self) -> Path | None:
        """Returns the file of SQLite, None with PostgreSQL."""
        return Path(self.url.removeprefix(_SQLITE)) if self.url.startswith(_SQLITE) else None
