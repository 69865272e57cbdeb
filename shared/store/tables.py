"""Describes the tables. Migrations make them; a test compares what they make with this description.

``inbox`` and ``notifications`` are the inboxes, ``deliveries`` and ``events`` the timeline. No foreign key leaves the
tables of the inboxes, and no other table is joined to them: an inbox exists for every user id that is written to.
``tenant`` is in every key and is '' for now, because adding it later would rewrite every key.
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

# One row for each notification and channel: where it stands. It follows from the events, in whatever order they come.
deliveries = Table(
    "deliveries",
    metadata,
    Column("tenant", Key, nullable=False),
    Column("request_id", Key, nullable=False),
    Column("client", Key, nullable=False),
    Column("channel", Key, nullable=False),
    Column("user_id", Key, nullable=False),
    Column("priority", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: orders what may be told: by life, then by how final it is; the status is that of the highest
    Column("rank", BigInteger, nullable=False),
    #: the life and the attempt at which a copy would be next: replay * 1024 + attempt
    Column("place", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    #: of the last call, and when that was
    Column("provider", Text, nullable=False),
    Column("provider_ms", BigInteger, nullable=False),
    #: why the last thing that failed did so, and when that was
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("reason_ms", BigInteger, nullable=False),
    Column("next_try_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Column("delivered_ms", BigInteger),
    Column("read_ms", BigInteger),
    #: from the acceptance to the provider's yes
    Column("latency_ms", BigInteger),
    #: what was published, until the notification has come to an end
    Column("body", Text),
    #: how often it was published again, and when it was last
    Column("republished", Integer, nullable=False),
    Column("republished_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "request_id", "client", "channel", name="deliveries_pkey"),
    postgresql_with={"fillfactor": 70},
)

events = Table(
    "events",
    metadata,
    Column("tenant", Key, nullable=False),
    Column("request_id", Key, nullable=False),
    Column("client", Key, nullable=False),
    Column("channel", Key, nullable=False),
    #: follows from what happened, so a repeated event is found
    Column("id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("replay", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("code", Text, nullable=False),
    #: how long a call took
    Column("ms", BigInteger),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("next_try_ms", BigInteger),
    # The events of one notification lie side by side, and nothing else has to find them.
    PrimaryKeyConstraint("tenant", "request_id", "client", "channel", "id", name="events_pkey"),
    sqlite_with_rowid=False,
)

_n = notifications.c
_unread = and_(_n.read_ms.is_(None), _n.archived_ms.is_(None), _n.deleted_ms.is_(None))
_expiring = and_(_n.expires_ms.is_not(None), _n.deleted_ms.is_(None))
_deleted = _n.deleted_ms.is_not(None)
Index("notifications_unread", _n.tenant, _n.user_id, _n.id, sqlite_where=_unread, postgresql_where=_unread)
Index("notifications_expiring", _n.expires_ms, sqlite_where=_expiring, postgresql_where=_expiring)
# Purging finds tombstones by it. It costs an insert nothing, because a new row is not in it.
Index("notifications_deleted", _n.deleted_ms, sqlite_where=_deleted, postgresql_where=_deleted)

_d = deliveries.c
_pending = and_(_d.status == "pending", _d.body.is_not(None))
_of_a_user = _d.user_id != ""
Index("deliveries_created", _d.tenant, _d.created_ms, _d.request_id, _d.client, _d.channel)
Index("deliveries_client", _d.tenant, _d.client, _d.created_ms, _d.request_id, _d.channel)
Index(
    "deliveries_user",
    *(_d.tenant, _d.user_id, _d.created_ms, _d.request_id, _d.client, _d.channel),
    sqlite_where=_of_a_user,
    postgresql_where=_of_a_user,
)
# The reconciler finds by it what has not come to an end.
Index("deliveries_pending", _d.updated_ms, sqlite_where=_pending, postgresql_where=_pending)

channel_groups = Table(
    "channel_groups",
    metadata,
    Column("tenant", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("channel", Key, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "channel", name="channel_groups_pkey"),
)
