"""Makes the inboxes and their notifications."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNREAD = sa.text("read_ms IS NULL AND archived_ms IS NULL AND deleted_ms IS NULL")
_EXPIRING = sa.text("expires_ms IS NOT NULL AND deleted_ms IS NULL")
_DELETED = sa.text("deleted_ms IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("unread", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("delivered_seq", sa.BigInteger, nullable=False),
        sa.Column("seen_seq", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id", name="inbox_pkey"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "notifications",
        sa.Column("id", _ID, sa.Identity(), primary_key=True),
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("client", _KEY, nullable=False),
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("changed_seq", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("category", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("extra", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("stored_ms", sa.BigInteger, nullable=False),
        sa.Column("read_ms", sa.BigInteger),
        sa.Column("archived_ms", sa.BigInteger),
        sa.Column("deleted_ms", sa.BigInteger),
        sa.Column("expires_ms", sa.BigInteger),
        sa.UniqueConstraint("tenant", "user_id", "client", "request_id", name="notifications_request"),
        sa.UniqueConstraint("tenant", "user_id", "changed_seq", "id", name="notifications_changed"),
        sqlite_autoincrement=True,
    )
    for name, columns, where in (
        ("notifications_unread", ["tenant", "user_id", "id"], _UNREAD),
        ("notifications_expiring", ["expires_ms"], _EXPIRING),
        ("notifications_deleted", ["deleted_ms"], _DELETED),
    ):
        op.create_index(name, "notifications", columns, sqlite_where=where, postgresql_where=where)
