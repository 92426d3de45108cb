"""Carrier API.

The first version of the database.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Json, Seq, UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forwards."""
    op.create_table(
        "carriers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_carriers"),
        sa.UniqueConstraint("name", name="uq_carriers_name"),
    )
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_rate_limits"),
    )
    op.create_table(
        "recordings",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("container", sa.String(length=64), nullable=False),
        sa.Column("codec", sa.String(length=64), nullable=False),
        sa.Column("rate_hz", sa.Integer(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("stored_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_recordings"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("expires_at", UTCDateTime, nullable=True),
        sa.Column("last_used_at", UTCDateTime, nullable=True),
        sa.Column("revoked_at", UTCDateTime, nullable=True),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_api_keys_carrier_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_index("ix_api_keys_carrier_id", "api_keys", ["carrier_id"])

    op.create_table(
        "calls",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("carrier_call_id", sa.String(length=255), nullable=True),
        sa.Column("caller", sa.String(length=16), nullable=True),
        sa.Column("callee", sa.String(length=16), nullable=True),
        sa.Column("started_at", UTCDateTime, nullable=False),
        sa.Column("received_at", UTCDateTime, nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("passports", Json, nullable=True),
        sa.Column("attestation", Json, nullable=True),
        sa.Column("upstream_provider", sa.String(length=255), nullable=True),
        sa.Column("recording_basis", sa.String(length=64), nullable=True),
        sa.Column("remote_channel", sa.Integer(), nullable=True),
        sa.Column("recording_sha256", sa.String(length=64), nullable=False),
        sa.Column("campaign_id", sa.String(length=64), nullable=True),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_calls_carrier_id"),
        sa.ForeignKeyConstraint(
            ["recording_sha256"], ["recordings.sha256"], name="fk_calls_recording_sha256"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_calls"),
        sa.UniqueConstraint("id", name="uq_calls_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_calls_callee", "calls", ["callee"])
    op.create_index("ix_calls_caller", "calls", ["caller"])
    op.create_index("ix_calls_campaign_id", "calls", ["campaign_id"])
    op.create_index("ix_calls_carrier_seq", "calls", ["carrier_id", "seq"])
    op.create_index("ix_calls_received_at", "calls", ["received_at"])
    op.create_index("ix_calls_recording_sha256", "calls", ["recording_sha256"])
    op.create_index("ix_calls_started_at", "calls", ["started_at"])

    op.create_table(
        "idempotency",
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_idempotency_carrier_id"),
        sa.PrimaryKeyConstraint("carrier_id", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])

    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_outbox_carrier_id"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_carrier_id", "outbox", ["carrier_id"])
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])

    op.create_table(
        "tombstones",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("recording_sha256", sa.String(length=64), nullable=False),
        sa.Column("recording_deleted", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("received_at", UTCDateTime, nullable=False),
        sa.Column("deleted_at", UTCDateTime, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_tombstones_carrier_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_tombstones"),
        sa.UniqueConstraint("call_id", name="uq_tombstones_call_id"),
    )
    op.create_index("ix_tombstones_carrier_id", "tombstones", ["carrier_id"])
    op.create_index("ix_tombstones_recording_sha256", "tombstones", ["recording_sha256"])

    op.create_table(
        "webhook_endpoints",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", Json, nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", UTCDateTime, nullable=True),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("disabled_at", UTCDateTime, nullable=True),
        sa.Column("disabled_reason", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_webhook_endpoints_carrier_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_webhook_endpoints"),
        sa.UniqueConstraint("id", name="uq_webhook_endpoints_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_endpoints_carrier_id", "webhook_endpoints", ["carrier_id"])

    op.create_table(
        "deliveries",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime, nullable=True),
        sa.Column("leased_until", UTCDateTime, nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("delivered_at", UTCDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name="fk_deliveries_endpoint_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["outbox.id"], name="fk_deliveries_event_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_endpoint_seq", "deliveries", ["endpoint_id", "seq"])
    op.create_index(
        "ix_deliveries_endpoint_state_next_attempt_at",
        "deliveries",
        ["endpoint_id", "state", "next_attempt_at"],
    )
    op.create_index("ix_deliveries_event_id", "deliveries", ["event_id"])
    op.create_index("ix_deliveries_state_next_attempt_at", "deliveries", ["state", "next_attempt_at"])

    op.create_table(
        "delivery_attempts",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.String(length=64), nullable=False),
        sa.Column("attempted_at", UTCDateTime, nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="fk_delivery_attempts_delivery_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_delivery_attempts"),
    )
    op.create_index("ix_delivery_attempts_delivery_id", "delivery_attempts", ["delivery_id"])

    op.create_table(
        "screenings",
        sa.Column("call_seq", Seq, autoincrement=False, nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("review_threshold", sa.Double(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("deciding_channel", sa.Integer(), nullable=False),
        sa.Column("channels", Json, nullable=False),
        sa.Column("screened_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["call_seq"], ["calls.seq"], name="fk_screenings_call_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_seq", name="pk_screenings"),
    )
    op.create_index("ix_screenings_score", "screenings", ["score"])
    op.create_index("ix_screenings_verdict_call_seq", "screenings", ["verdict", "call_seq"])


def downgrade() -> None:
    """Migrate backwards."""
    op.drop_index("ix_screenings_verdict_call_seq", table_name="screenings")
    op.drop_index("ix_screenings_score", table_name="screenings")

    op.drop_table("screenings")
    op.drop_index("ix_delivery_attempts_delivery_id", table_name="delivery_attempts")

    op.drop_table("delivery_attempts")
    op.drop_index("ix_deliveries_state_next_attempt_at", table_name="deliveries")
    op.drop_index("ix_deliveries_event_id", table_name="deliveries")
    op.drop_index("ix_deliveries_endpoint_state_next_attempt_at", table_name="deliveries")
    op.drop_index("ix_deliveries_endpoint_seq", table_name="deliveries")

    op.drop_table("deliveries")
    op.drop_index("ix_webhook_endpoints_carrier_id", table_name="webhook_endpoints")

    op.drop_table("webhook_endpoints")
    op.drop_index("ix_tombstones_recording_sha256", table_name="tombstones")
    op.drop_index("ix_tombstones_carrier_id", table_name="tombstones")

    op.drop_table("tombstones")
    op.drop_index("ix_outbox_created_at", table_name="outbox")
    op.drop_index("ix_outbox_carrier_id", table_name="outbox")

    op.drop_table("outbox")
    op.drop_index("ix_idempotency_created_at", table_name="idempotency")

    op.drop_table("idempotency")
    op.drop_index("ix_calls_started_at", table_name="calls")
    op.drop_index("ix_calls_recording_sha256", table_name="calls")
    op.drop_index("ix_calls_received_at", table_name="calls")
    op.drop_index("ix_calls_carrier_seq", table_name="calls")
    op.drop_index("ix_calls_campaign_id", table_name="calls")
    op.drop_index("ix_calls_caller", table_name="calls")
    op.drop_index("ix_calls_callee", table_name="calls")

    op.drop_table("calls")
    op.drop_index("ix_api_keys_carrier_id", table_name="api_keys")

    op.drop_table("api_keys")
    op.drop_table("recordings")
    op.drop_table("rate_limits")
    op.drop_table("carriers")
