"""Live streams: how a call came, and the calls announced for AudioSocket."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Json, UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forwards."""
    op.add_column("calls", sa.Column("stream", Json, nullable=True))
    op.create_table(
        "announced_streams",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("call", Json, nullable=False),
        sa.Column("expires_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_announced_streams_key_id"),
        sa.PrimaryKeyConstraint("uuid", name="pk_announced_streams"),
    )
    op.create_index("ix_announced_streams_expires_at", "announced_streams", ["expires_at"])


def downgrade() -> None:
    """Migrate backwards."""
    op.drop_table("announced_streams")
    # Not in a batch, which copies the table and lets SQLite drop what refers to it.
    op.drop_column("calls", "stream")
