"""Tests that docs/store.md and docs/tokens.md have the tables and the numbers of the code."""

from __future__ import annotations

import re

import pytest

from gateway.inbox.inboxes import CONNECTIONS as OF_GATEWAY
from shared.realtime import refresh, tickets, tokens
from shared.settings.groups.database import DatabaseSettings
from shared.settings.groups.sockets import SECRET_BYTES
from shared.store import database, watchdog
from shared.store.store import TOMBSTONE_MS
from shared.store.tables import metadata
from shared.store.threads import CONNECTIONS
from shared.store.values import BATCH_BYTES, BATCH_ROWS
from tests.support.document import Document, rows, words

STORE, TOKENS = Document("store.md"), Document("tokens.md")
DAY_S = 86_400

#: A page, what it says, with each number as a group, and the numbers of the code.
NUMBERS: list[tuple[Document, str, tuple[float, ...]]] = [
    (STORE, r"at most (\d+) rows or (\d+) MiB\)", (BATCH_ROWS, BATCH_BYTES / 1024 / 1024)),
    (STORE, r"longer than (\d+) s for a lock or (\d+) s for a statement", (database.LOCK_S, database.STATEMENT_S)),
    (STORE, r"is given up after (\d+) s", (watchdog.SILENCE_S,)),
    (STORE, r"more than `INBOX_DAYS` \((\d+)\) ago", (DatabaseSettings().inbox_days,)),
    (STORE, r"tombstones \| (\d+) days later", (TOMBSTONE_MS / 1000 / DAY_S,)),
    # The gateway's health check has one more.
    (STORE, r"opens up to (\d+) connections, a gateway process up to (\d+)", (CONNECTIONS, OF_GATEWAY + 1)),
    (TOKENS, r"at most (\d+) names, or patterns", (tokens.MOST_CHANNELS,)),
    (TOKENS, r"`ttl_s` is 1 to ([\d ]+) seconds, (\d+) if it is absent", (tokens.MOST_LIFE_S, tokens.LIFE_S)),
    (TOKENS, r"open one connection within (\d+) seconds", (tickets.LIFE_S,)),
    (TOKENS, r"good once, within (\d+) days", (tokens.REFRESH_LIFE_S / DAY_S,)),
    (TOKENS, r"may repeat its request within (\d+) seconds", (refresh.REPEAT_MS / 1000,)),
    (TOKENS, r"secrets of at least (\d+) bytes", (SECRET_BYTES,)),
    (TOKENS, r"text of 1 to (\d+) characters", (tokens.MOST_USER_ID_CHARS,)),
    (TOKENS, r"at most (\d+) hours apart", (tokens.MOST_LIFE_S / 3600,)),
    (TOKENS, r"may differ by (\d+) seconds", (tokens.LEEWAY_S,)),
    (TOKENS, r"Remove the old one after (\d+) days", (tokens.REFRESH_LIFE_S / DAY_S,)),
]


@pytest.mark.parametrize(("page", "said", "numbers"), NUMBERS)
def test_a_number_of_the_page_is_that_of_the_code(page: Document, said: str, numbers: tuple[float, ...]) -> None:
    found = re.search(said, page.flowing)
    assert found is not None
    assert tuple(float(number.replace(" ", "")) for number in found.groups()) == tuple(map(float, numbers))


@pytest.mark.parametrize("table", ["inbox", "notifications"])
def test_every_column_is_described(table: str) -> None:
    parts = STORE.section("Two tables").split("`notifications` has one row")
    described = set().union(*(words(column) for column, _ in rows(parts[table == "notifications"])))
    # What makes a notification unique stands above its table.
    key = {"tenant", "user_id", "client", "request_id"} if table == "notifications" else set()
    assert key <= words(parts[1])
    assert described | key == {column.name for column in metadata.tables[table].columns}


def test_every_requirement_of_a_token_is_described() -> None:
    table = TOKENS.section("Tokens that your backend signs itself")
    described = set().union(*(words(part) for part, _ in rows(table)))
    assert described == {"alg", "kid", "channels", *tokens._REQUIRED}
    algorithm, audience = (next(rule for part, rule in rows(table) if f"`{name}`" in part) for name in ("alg", "aud"))
    assert f"`{tokens.ALGORITHM}`" in algorithm
    assert f"`{tokens.AUDIENCE}`" in audience
