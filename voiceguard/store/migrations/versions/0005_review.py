"""Review: people and their sessions, what waits for a decision, and every decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Seq, UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forwards; calls that were flagged before wait for a decision from now on."""
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("one_time", sa.Boolean(), nullable=False),
        sa.Column("totp_secret", sa.String(length=64), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", UTCDateTime, nullable=True),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("signed_in_at", UTCDateTime, nullable=True),
        sa.Column("disabled_at", UTCDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("seen_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("sha256", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_seen_at", "sessions", ["seen_at"])
    op.create_table(
        "reviews",
        sa.Column("call_seq", Seq, autoincrement=False, nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.Double(), nullable=False),
        sa.Column("started_at", UTCDateTime, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("consent", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reviewer_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["call_seq"], ["calls.seq"], name="fk_reviews_call_seq", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name="fk_reviews_reviewer_id"),
        sa.PrimaryKeyConstraint("call_seq", name="pk_reviews"),
    )
    op.create_index("ix_reviews_state_rank_call_seq", "reviews", ["state", "rank", "call_seq"])
    op.create_index("ix_reviews_state_started_at_call_seq", "reviews", ["state", "started_at", "call_seq"])
    op.create_index("ix_reviews_reviewer_id", "reviews", ["reviewer_id"])
    op.create_table(
        "campaign_reviews",
        sa.Column("campaign_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("consent", sa.String(length=16), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_seq"], ["campaigns.seq"], name="fk_campaign_reviews_campaign_seq"),
        sa.PrimaryKeyConstraint("campaign_seq", name="pk_campaign_reviews"),
    )
    op.create_table(
        "decisions",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=True),
        sa.Column("campaign_id", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reviewer_id", sa.String(length=64), nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("consent", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("wants_second", sa.Boolean(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        sa.Column("supersedes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name="fk_decisions_reviewer_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_decisions"),
        sa.UniqueConstraint("call_id", "version", name="uq_decisions_call_id_version"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_decisions_campaign_id_seq", "decisions", ["campaign_id", "seq"])
    op.create_index("ix_decisions_batch", "decisions", ["batch"])
    op.create_index("ix_decisions_supersedes", "decisions", ["supersedes"])
    op.create_index("ix_decisions_reviewer_id_seq", "decisions", ["reviewer_id", "seq"])
    op.create_index("ix_calls_upstream_provider_seq", "calls", ["upstream_provider", "seq"])
    op.create_index("ix_campaigns_score", "campaigns", ["score", "seq"])
    op.create_index("ix_campaigns_calls", "campaigns", ["calls", "seq"])
    op.execute(
        "INSERT INTO reviews (call_seq, why, rank, started_at, state, version) "
        "SELECT calls.seq, 'flagged', screenings.score, calls.started_at, 'open', 0 "
        "FROM calls JOIN screenings ON screenings.call_seq = calls.seq "
        "WHERE screenings.verdict = 'synthetic'"
    )


def downgrade() -> None:
    """Migrate backwards."""
    op.drop_index("ix_campaigns_calls", table_name="campaigns")
    op.drop_index("ix_campaigns_score", table_name="campaigns")
    op.drop_index("ix_calls_upstream_provider_seq", table_name="calls")
    for table in ("decisions", "campaign_reviews", "reviews", "sessions", "users"):
        op.drop_table(table)
