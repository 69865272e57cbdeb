"""Makes the timeline: what happened to notifications, and where each of them stands."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_PENDING = sa.text("status = 'pending' AND body IS NOT NULL")
_OF_A_USER = sa.text("user_id <> ''")


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("client", _KEY, nullable=False),
        sa.Column("channel", _KEY, nullable=False),
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("rank", sa.BigInteger, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("reason_ms", sa.BigInteger, nullable=False),
        sa.Column("next_try_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_ms", sa.BigInteger),
        sa.Column("delivered_ms", sa.BigInteger),
        sa.Column("read_ms", sa.BigInteger),
        sa.Column("latency_ms", sa.BigInteger),
        sa.Column("body", sa.Text),
        sa.Column("republished", sa.Integer, nullable=False),
        sa.Column("republished_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "request_id", "client", "channel", name="deliveries_pkey"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "events",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("client", _KEY, nullable=False),
        sa.Column("channel", _KEY, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("replay", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("ms", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("next_try_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant", "request_id", "client", "channel", "id", name="events_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_index("deliveries_created", "deliveries", ["tenant", "created_ms", "request_id", "client", "channel"])
    op.create_index("deliveries_client", "deliveries", ["tenant", "client", "created_ms", "request_id", "channel"])
    for name, columns, where in (
        ("deliveries_user", ["tenant", "user_id", "created_ms", "request_id", "client", "channel"], _OF_A_USER),
        ("deliveries_pending", ["updated_ms"], _PENDING),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=where, postgresql_where=where)
