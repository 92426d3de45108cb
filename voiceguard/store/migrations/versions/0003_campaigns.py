"""Campaigns: fingerprints, their index, and the campaigns that they make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Json, Seq, UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forwards."""
    op.add_column("calls", sa.Column("announcement", sa.String(length=200), nullable=True))
    op.drop_index("ix_calls_campaign_id", table_name="calls")
    op.create_index("ix_calls_campaign_id_started_at", "calls", ["campaign_id", "started_at"])
    op.create_table(
        "announcements",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("taught_at", UTCDateTime, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_announcements"),
        sa.UniqueConstraint("name", name="uq_announcements_name"),
    )
    op.create_table(
        "campaigns",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("merged_into", sa.Integer(), nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", UTCDateTime, nullable=True),
        sa.Column("last_seen_at", UTCDateTime, nullable=True),
        sa.Column("told_size", sa.Integer(), nullable=False),
        sa.Column("indexed", sa.Integer(), nullable=False),
        sa.Column("best_print", sa.Integer(), nullable=True),
        sa.Column("best_quality", sa.Double(), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["merged_into"], ["campaigns.seq"], name="fk_campaigns_merged_into"),
        sa.PrimaryKeyConstraint("seq", name="pk_campaigns"),
        sa.UniqueConstraint("id", name="uq_campaigns_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_campaigns_last_seen_at", "campaigns", ["last_seen_at"])
    op.create_index("ix_campaigns_merged_into", "campaigns", ["merged_into"])
    op.create_table(
        "fingerprints",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("recording_sha256", sa.String(length=64), nullable=True),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("campaign_seq", sa.Integer(), nullable=True),
        sa.Column("announcement_seq", sa.Integer(), nullable=True),
        sa.Column("indexed", sa.Boolean(), nullable=False),
        sa.Column("speech_s", sa.Double(), nullable=False),
        sa.Column("quality", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_sha256"], ["recordings.sha256"], name="fk_fingerprints_recording_sha256"
        ),
        sa.ForeignKeyConstraint(["campaign_seq"], ["campaigns.seq"], name="fk_fingerprints_campaign_seq"),
        sa.ForeignKeyConstraint(
            ["announcement_seq"], ["announcements.seq"], name="fk_fingerprints_announcement_seq"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_fingerprints"),
        sa.UniqueConstraint("recording_sha256", "channel", name="uq_fingerprints_recording_sha256_channel"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fingerprints_announcement_seq", "fingerprints", ["announcement_seq"])
    op.create_index("ix_fingerprints_campaign_seq_quality", "fingerprints", ["campaign_seq", "quality"])
    op.create_table(
        "fingerprint_keys",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("print_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "print_seq", name="pk_fingerprint_keys"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign_carriers",
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("campaign_seq", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_campaign_carriers_carrier_id"),
        sa.ForeignKeyConstraint(
            ["campaign_seq"], ["campaigns.seq"], name="fk_campaign_carriers_campaign_seq"
        ),
        sa.PrimaryKeyConstraint("carrier_id", "campaign_seq", name="pk_campaign_carriers"),
    )
    op.create_index("ix_campaign_carriers_campaign_seq", "campaign_carriers", ["campaign_seq"])
    op.create_table(
        "campaigns_apart",
        sa.Column("low_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("high_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["low_seq"], ["campaigns.seq"], name="fk_campaigns_apart_low_seq"),
        sa.ForeignKeyConstraint(["high_seq"], ["campaigns.seq"], name="fk_campaigns_apart_high_seq"),
        sa.PrimaryKeyConstraint("low_seq", "high_seq", name="pk_campaigns_apart"),
    )
    op.create_index("ix_campaigns_apart_high_seq", "campaigns_apart", ["high_seq"])
    op.create_table(
        "campaign_history",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("campaign_seq", sa.Integer(), nullable=False),
        sa.Column("other_seq", sa.Integer(), nullable=True),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("detail", Json, nullable=True),
        sa.ForeignKeyConstraint(["campaign_seq"], ["campaigns.seq"], name="fk_campaign_history_campaign_seq"),
        sa.ForeignKeyConstraint(["other_seq"], ["campaigns.seq"], name="fk_campaign_history_other_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_campaign_history"),
    )
    op.create_index("ix_campaign_history_campaign_seq", "campaign_history", ["campaign_seq"])
    op.create_index("ix_campaign_history_other_seq", "campaign_history", ["other_seq"])


def downgrade() -> None:
    """Migrate backwards."""
    for table in (
        "campaign_history",
        "campaigns_apart",
        "campaign_carriers",
        "fingerprint_keys",
        "fingerprints",
        "campaigns",
        "announcements",
    ):
        op.drop_table(table)
    op.drop_index("ix_calls_campaign_id_started_at", table_name="calls")
    op.create_index("ix_calls_campaign_id", "calls", ["campaign_id"])
    # Not in a batch, which copies the table and lets SQLite drop what refers to it.
    op.drop_column("calls", "announcement")
