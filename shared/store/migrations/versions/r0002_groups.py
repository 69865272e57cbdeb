"""Makes the groups of channels."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "channel_groups",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("name", _KEY, nullable=False),
        sa.Column("channel", _KEY, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "channel", name="channel_groups_pkey"),
    )
