"""Describes the two tables. A migration makes them; a test compares what it makes with this description.

No foreign key leaves these tables, and no other table is joined to them: an inbox exists for every user id that is
written to. ``tenant`` is in every key and is '' for now, because adding it later would rewrite every key.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData()

# Keys are compared byte by byte, as SQLite does by itself. So both databases, and Python, put users in the same order,
# and an update of the operating system's collations never makes an index of PostgreSQL wrong.
Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column of this very type.
Id = BigInteger().with_variant(Integer, "sqlite")

inbox = Table(
    "inbox",
    metadata,
    Column("tenant", Key, nullable=False),
    Column("user_id", Key, nullable=False),
    #: 8 random hex digits; offsets are comparable only within one epoch
    Column("epoch", Text, nullable=False),
    #: the offset of the last change
    Column("seq", BigInteger, nullable=False),
    Column("unread", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    #: the highest offset of a purged tombstone; positions below it cannot be continued
    Column("floor", BigInteger, nullable=False),
    Column("delivered_seq", BigInteger, nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id", name="inbox_pkey"),
    sqlite_with_rowid=False,
    # Every change updates a row in place: leave room for the new version in the same page.
    postgresql_with={"fillfactor": 70},
)

notifications = Table(
    "notifications",
    metadata,
    # An id is never given twice, not even after its row was removed.
    Column("id", Id, Identity(), primary_key=True),
    Column("tenant", Key, nullable=False),
    Column("user_id", Key, nullable=False),
    Column("client", Key, nullable=False),
    Column("request_id", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("changed_seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("category", Text),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("extra", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("stored_ms", BigInteger, nullable=False),
    Column("read_ms", BigInteger),
    Column("archived_ms", BigInteger),
    Column("deleted_ms", BigInteger),
    Column("expires_ms", BigInteger),
    UniqueConstraint("tenant", "user_id", "client", "request_id", name="notifications_request"),
    UniqueConstraint("tenant", "user_id", "changed_seq", "id", name="notifications_changed"),
    sqlite_autoincrement=True,
)

_n = notifications.c
_unread = and_(_n.read_ms.is_(None), _n.archived_ms.is_(None), _n.deleted_ms.is_(None))
_expiring = and_(_n.expires_ms.is_not(None), _n.deleted_ms.is_(None))
_deleted = _n.deleted_ms.is_not(None)
Index("notifications_unread", _n.tenant, _n.user_id, _n.id, sqlite_where=_unread, postgresql_where=_unread)
Index("notifications_expiring", _n.expires_ms, sqlite_where=_expiring, postgresql_where=_expiring)
# Purging finds tombstones by it. It costs an insert nothing, because a new row is not in it.
Index("notifications_deleted", _n.deleted_ms, sqlite_where=_deleted, postgresql_where=_deleted)
