"""People whom an OpenID Connect service signs in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import UTCDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forwards."""
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_identities_user_id"),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identities"),
        sa.UniqueConstraint("user_id", name="uq_identities_user_id"),
    )


def downgrade() -> None:
    """Migrate backwards; who had no password can sign in no more."""
    op.drop_table("identities")
