"""Saved views of the queue, figures, and what makes lists of many calls quick."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Seq, UTCDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CAMPAIGN_ORDERS = ("score", "first_seen_at", "last_seen_at")
_DAY = {
    "sqlite": "CAST(strftime('%Y%m%d', {0}.received_at) AS INTEGER)",
    "postgresql": "CAST(to_char({0}.received_at AT TIME ZONE 'UTC', 'YYYYMMDD') AS INTEGER)",
}


def upgrade() -> None:
    """Migrate forwards; the figures begin with the calls that are there, and those that were deleted."""
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        # As a computed column it is filled while the table is written anew, a tenth of an UPDATE's time.
        computed = sa.Computed("coalesce(attestation ->> 'level', 'none')", persisted=True)
        op.add_column("calls", sa.Column("level", sa.String(8), computed, nullable=False))
        op.execute("ALTER TABLE calls ALTER COLUMN level DROP EXPRESSION")
        op.alter_column("calls", "level", server_default="none")
    else:
        op.add_column("calls", sa.Column("level", sa.String(8), nullable=False, server_default="none"))
        level = "json_extract(attestation, '$.level')"
        op.execute(f"UPDATE calls SET level = {level} WHERE {level} IS NOT NULL")  # noqa: S608 (names of this file)
    op.create_index("ix_calls_level_seq", "calls", ["level", "seq"])
    op.create_index("ix_calls_campaign_id_seq", "calls", ["campaign_id", "seq"])
    columns = ["call_seq", "verdict", "score", "model"]
    op.create_index("ix_screenings_call_seq_verdict_score_model", "screenings", columns)
    for name in _CAMPAIGN_ORDERS:
        op.create_index(
            f"ix_campaigns_several_{name}",
            "campaigns",
            [name, "seq"],
            sqlite_where=sa.text("calls > 1"),
            postgresql_where=sa.text("calls > 1"),
        )
    op.create_table(
        "saved_views",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_saved_views_user_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_saved_views"),
        sa.UniqueConstraint("user_id", "name", name="uq_saved_views_user_id_name"),
    )
    op.create_table(
        "figures",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("screened", "flagged", "confirmed", "overturned", "missed")
        ),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_figures_carrier_id"),
        sa.PrimaryKeyConstraint("day", "carrier_id", "provider", "level", name="pk_figures"),
    )
    fields = "day, carrier_id, provider, level, screened, flagged, confirmed, overturned, missed"
    # Of a deleted call only the carrier is known.
    op.execute(
        f"""
        INSERT INTO figures ({fields})
        SELECT day, carrier_id, provider, level, count(*), sum(flagged), sum(flagged * confirmed),
            sum(flagged * dismissed), sum((1 - flagged) * confirmed)
        FROM (
            SELECT {_DAY[dialect].format("calls")} AS day, calls.carrier_id,
                coalesce(calls.upstream_provider, '') AS provider, calls.level,
                CASE WHEN screenings.verdict = 'synthetic' THEN 1 ELSE 0 END AS flagged,
                CASE WHEN reviews.outcome = 'confirmed' THEN 1 ELSE 0 END AS confirmed,
                CASE WHEN reviews.outcome = 'dismissed' THEN 1 ELSE 0 END AS dismissed
            FROM calls JOIN screenings ON screenings.call_seq = calls.seq
                LEFT JOIN reviews ON reviews.call_seq = calls.seq
            UNION ALL
            SELECT {_DAY[dialect].format("tombstones")}, carrier_id, '', 'none',
                CASE WHEN verdict = 'synthetic' THEN 1 ELSE 0 END, 0, 0
            FROM tombstones
        ) AS counted
        GROUP BY day, carrier_id, provider, level
        """  # noqa: S608 (names of this file)
    )


def downgrade() -> None:
    """Migrate backwards."""
    op.drop_table("figures")
    op.drop_table("saved_views")
    for name in _CAMPAIGN_ORDERS:
        op.drop_index(f"ix_campaigns_several_{name}", table_name="campaigns")
    op.drop_index("ix_screenings_call_seq_verdict_score_model", table_name="screenings")
    op.drop_index("ix_calls_campaign_id_seq", table_name="calls")
    op.drop_index("ix_calls_level_seq", table_name="calls")
    # Not in a batch, which copies the table and lets SQLite drop what refers to it.
    op.drop_column("calls", "level")
