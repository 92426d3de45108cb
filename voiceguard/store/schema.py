"""The tables, as SQLAlchemy Core sees them; `migrations/` brings a database to this state.

Every time is UTC and carries its zone (`UTCDateTime`). Rows that others refer to from outside have a text id
with a speaking prefix (``call_``, ``key_``, …); `calls.seq` gives lists an order that no clock can disturb.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


class UTCDateTime(sa.types.TypeDecorator[dt.datetime]):
    """A moment in UTC: ``timestamptz`` on PostgreSQL, naive UTC text on SQLite; aware in Python."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Refuse a moment without a zone, so that no local time slips in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a time with a zone, got {value!r}")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Give the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""JSON text on SQLite, ``jsonb`` on PostgreSQL; None is SQL's NULL."""

Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself in an ``INTEGER PRIMARY KEY`` only."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def new_id(prefix: str) -> str:
    """Return an id such as ``call_5f1c…`` with 128 random bits."""
    return f"{prefix}_{secrets.token_hex(16)}"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _id(prefix: str) -> sa.Column[Any]:
    return sa.Column("id", sa.String(64), primary_key=True, default=lambda: new_id(prefix))


carriers = sa.Table(
    "carriers",
    metadata,
    _id("carrier"),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id("key"),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False, index=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("prefix", sa.String(16), nullable=False),  # what lists and logs show
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("expires_at", UTCDateTime),
    sa.Column("last_used_at", UTCDateTime),
    sa.Column("revoked_at", UTCDateTime),
)

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("container", sa.String(64), nullable=False),
    sa.Column("codec", sa.String(64), nullable=False),
    sa.Column("rate_hz", sa.Integer, nullable=False),
    sa.Column("duration_s", sa.Double, nullable=False),
    sa.Column("stored_at", UTCDateTime, nullable=False, default=_now),
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("call")),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False),
    sa.Column("carrier_call_id", sa.String(255)),
    sa.Column("caller", sa.String(16)),  # E.164
    sa.Column("callee", sa.String(16)),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("received_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("identity", sa.Text),  # the SIP Identity header as received
    sa.Column("passports", Json),  # what was read from it
    sa.Column("attestation", Json),  # from the tokens, or from the switch's own form
    sa.Column("level", sa.String(8), nullable=False, server_default="none"),  # of the attestation
    sa.Column("upstream_provider", sa.String(255)),
    sa.Column("recording_basis", sa.String(64)),
    sa.Column("remote_channel", sa.Integer),
    sa.Column("recording_sha256", sa.ForeignKey("recordings.sha256"), nullable=False, index=True),
    sa.Column("campaign_id", sa.String(64)),
    sa.Column("announcement", sa.String(200)),  # name of the known announcement that the recording is
    sa.Column("held", sa.Boolean, nullable=False, default=False),  # in an open case: never deleted
    sa.Column("salt", sa.String(32)),  # of the call's hash in the audit log; NULL before version 0002
    sa.Column("stream", Json),  # how a live call came; NULL for a posted one
    sa.Index("ix_calls_carrier_seq", "carrier_id", "seq"),
    sa.Index("ix_calls_caller", "caller"),
    sa.Index("ix_calls_callee", "callee"),
    sa.Index("ix_calls_started_at", "started_at"),
    sa.Index("ix_calls_received_at", "received_at"),
    sa.Index("ix_calls_campaign_id_started_at", "campaign_id", "started_at"),
    sa.Index("ix_calls_campaign_id_seq", "campaign_id", "seq"),
    sa.Index("ix_calls_level_seq", "level", "seq"),
    sa.Index("ix_calls_upstream_provider_seq", "upstream_provider", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice, so a cursor stays true after a deletion
)

announced_streams = sa.Table(  # calls whose media will come over AudioSocket, which has room for a UUID only
    "announced_streams",
    metadata,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("key_id", sa.ForeignKey("api_keys.id"), nullable=False),
    sa.Column("call", Json, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False, index=True),
)

screenings = sa.Table(
    "screenings",
    metadata,
    sa.Column(
        "call_seq", Seq, sa.ForeignKey("calls.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32)),
    sa.Column("score", sa.Double),
    sa.Column("probability", sa.Double),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("review_threshold", sa.Double, nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("deciding_channel", sa.Integer, nullable=False),
    sa.Column("channels", Json, nullable=False),  # each channel's verdict, windows, speech and quality
    sa.Column("screened_at", UTCDateTime, nullable=False, default=_now),
    sa.Index("ix_screenings_verdict_call_seq", "verdict", "call_seq"),
    sa.Index("ix_screenings_score", "score"),
    # Answers by itself, without the long rows, what lists and figures ask of a call.
    sa.Index("ix_screenings_call_seq_verdict_score_model", "call_seq", "verdict", "score", "model"),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),  # SHA-256 of what the request said
    sa.Column("call_id", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # the answer, byte for byte
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now, index=True),
)

rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("hits", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),  # seconds since the epoch
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("call_id", sa.String(64), nullable=False, unique=True),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False, index=True),
    sa.Column("recording_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("recording_deleted", sa.Boolean, nullable=False),  # false: another call has the same audio
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("received_at", UTCDateTime, nullable=False),
    sa.Column("deleted_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
)

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("endpoint")),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", Json, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # plain: signing needs it
    sa.Column("previous_secret", sa.Text),  # signs too until receivers have the new one
    sa.Column("previous_secret_until", UTCDateTime),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("disabled_at", UTCDateTime),
    sa.Column("disabled_reason", sa.String(200)),
    sqlite_autoincrement=True,
)

outbox = sa.Table(
    "outbox",
    metadata,
    _id("event"),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False, index=True),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now, index=True),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("delivery")),
    sa.Column("event_id", sa.ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("endpoint_id", sa.ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # pending, delivered, failed
    sa.Column("attempts", sa.Integer, nullable=False, default=0),  # since the event or the last replay
    sa.Column("next_attempt_at", UTCDateTime),
    sa.Column("leased_until", UTCDateTime),  # a sender is at it; later than that, it has died
    sa.Column("lease", sa.String(32)),  # which sender
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("delivered_at", UTCDateTime),
    sa.Index("ix_deliveries_state_next_attempt_at", "state", "next_attempt_at"),
    sa.Index("ix_deliveries_endpoint_state_next_attempt_at", "endpoint_id", "state", "next_attempt_at"),
    sa.Index("ix_deliveries_endpoint_seq", "endpoint_id", "seq"),
    sqlite_autoincrement=True,
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("attempted_at", UTCDateTime, nullable=False),
    sa.Column("duration_s", sa.Double, nullable=False),
    sa.Column("status", sa.Integer),  # of the answer, if one came
    sa.Column("error", sa.String(200)),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=False),  # 1, 2, 3, … without a gap
    sa.Column("at", UTCDateTime, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("entry", sa.Text, nullable=False),  # RFC 8785: all of the row, and the hash of the row before
    sa.Column("hash", sa.String(64), nullable=False),  # SHA-256 of entry
    sa.Index("ix_audit_log_object_seq", "object", "seq"),
)
"""Append-only: triggers of the migration refuse an update, a deletion and a wrong number."""

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("number", Seq, primary_key=True, autoincrement=False),  # 1, 2, 3, … without a gap
    sa.Column("last_seq", sa.BigInteger, nullable=False),  # of audit_log, covered from the one before
    sa.Column("statement", sa.Text, nullable=False),  # RFC 8785: what is signed
    sa.Column("signature", sa.String(128), nullable=False),  # Ed25519, hexadecimal
    sa.Column("public_key", sa.String(64), nullable=False),  # hexadecimal
    sa.Column("timestamp_token", sa.Text),  # RFC 3161 response over the statement, base64
)
"""Append-only as the log is."""

announcements = sa.Table(
    "announcements",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("taught_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("actor", sa.String(200), nullable=False),
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("campaign")),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("merged_into", sa.ForeignKey("campaigns.seq"), index=True),  # never one that is merged itself
    sa.Column("calls", sa.Integer, nullable=False, default=0),
    sa.Column("first_seen_at", UTCDateTime),  # when its calls began; NULL without calls
    sa.Column("last_seen_at", UTCDateTime),
    sa.Column("told_size", sa.Integer, nullable=False, default=0),  # the last set size that carriers heard of
    sa.Column("indexed", sa.Integer, nullable=False, default=0),  # copies that the look-up index holds
    # Of the copy with the best quality, which decides; no foreign key, for that would be a circle.
    sa.Column("best_print", sa.Integer),
    sa.Column("best_quality", sa.Double),
    sa.Column("verdict", sa.String(16)),
    sa.Column("reason", sa.String(32)),
    sa.Column("score", sa.Double),
    sa.Index("ix_campaigns_last_seen_at", "last_seen_at"),
    sa.Index("ix_campaigns_score", "score", "seq"),
    sa.Index("ix_campaigns_calls", "calls", "seq"),
    # Of those with several calls, few beside the many recordings that came once.
    *(
        sa.Index(
            f"ix_campaigns_several_{name}",
            name,
            "seq",
            sqlite_where=sa.text("calls > 1"),
            postgresql_where=sa.text("calls > 1"),
        )
        for name in ("score", "first_seen_at", "last_seen_at")
    ),
    sqlite_autoincrement=True,
)

fingerprints = sa.Table(
    "fingerprints",
    metadata,
    # Integers, not big ones: the index holds this number many times over.
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("recording_sha256", sa.ForeignKey("recordings.sha256")),  # NULL: of an announcement
    sa.Column("channel", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("campaign_seq", sa.ForeignKey("campaigns.seq")),
    sa.Column("announcement_seq", sa.ForeignKey("announcements.seq"), index=True),
    sa.Column("indexed", sa.Boolean, nullable=False),  # its keys are in fingerprint_keys
    sa.Column("speech_s", sa.Double, nullable=False),
    sa.Column("quality", sa.Double, nullable=False),
    sa.Column("verdict", sa.String(16)),
    sa.Column("reason", sa.String(32)),
    sa.Column("score", sa.Double),
    sa.Column("model", sa.String(128)),
    sa.Column("data", sa.LargeBinary, nullable=False),  # last: SQLite reads past it only when asked
    sa.UniqueConstraint("recording_sha256", "channel"),
    sa.Index("ix_fingerprints_campaign_seq_quality", "campaign_seq", "quality"),
    sqlite_autoincrement=True,  # the order of numbers is the order of commits, see store/similar.py
)

fingerprint_keys = sa.Table(
    "fingerprint_keys",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("print_seq", sa.Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

campaign_carriers = sa.Table(
    "campaign_carriers",
    metadata,
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), primary_key=True),
    sa.Column("campaign_seq", sa.ForeignKey("campaigns.seq"), primary_key=True, index=True),
    sa.Column("calls", sa.Integer, nullable=False),
)

campaigns_apart = sa.Table(  # a reviewer split them: no call joins them again
    "campaigns_apart",
    metadata,
    sa.Column("low_seq", sa.ForeignKey("campaigns.seq"), primary_key=True, autoincrement=False),
    sa.Column("high_seq", sa.ForeignKey("campaigns.seq"), primary_key=True, index=True, autoincrement=False),
)

campaign_history = sa.Table(
    "campaign_history",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("campaign_seq", sa.ForeignKey("campaigns.seq"), nullable=False, index=True),
    sa.Column("other_seq", sa.ForeignKey("campaigns.seq"), index=True),
    sa.Column("at", UTCDateTime, nullable=False, default=_now),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("detail", Json),
)

users = sa.Table(
    "users",
    metadata,
    _id("user"),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),  # empty: signs in elsewhere only
    sa.Column("one_time", sa.Boolean, nullable=False),  # the password must be changed first
    sa.Column("totp_secret", sa.String(64)),  # plain: checking a code needs it; NULL: signs in without
    sa.Column("totp_step", sa.BigInteger, nullable=False, default=0),  # of the last code: none is used twice
    sa.Column("failures", sa.Integer, nullable=False, default=0),  # since the last sign-in
    sa.Column("locked_until", UTCDateTime),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
    sa.Column("signed_in_at", UTCDateTime),
    sa.Column("disabled_at", UTCDateTime),
)

identities = sa.Table(  # whom an OpenID Connect service vouches for; `subject` never changes there
    "identities",
    metadata,
    sa.Column("issuer", sa.String(255), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False, unique=True),
    sa.Column("created_at", UTCDateTime, nullable=False, default=_now),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),  # of the cookie's token
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("csrf", sa.String(64), nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),  # what recordings are listened to for
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("seen_at", UTCDateTime, nullable=False, index=True),
)

reviews = sa.Table(  # calls that wait for a decision, or have one
    "reviews",
    metadata,
    sa.Column(
        "call_seq", Seq, sa.ForeignKey("calls.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("why", sa.String(16), nullable=False),  # flagged, random, campaign, asked
    sa.Column("rank", sa.Double, nullable=False),  # the place in the queue: the score, of random calls a draw
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # open, second, escalated, decided
    sa.Column("outcome", sa.String(16)),  # confirmed or dismissed, once decided
    sa.Column("consent", sa.String(16)),
    sa.Column("version", sa.Integer, nullable=False, default=0),  # counts the decisions
    sa.Column("reviewer_id", sa.ForeignKey("users.id"), index=True),  # of the last decision
    sa.Index("ix_reviews_state_rank_call_seq", "state", "rank", "call_seq"),
    sa.Index("ix_reviews_state_started_at_call_seq", "state", "started_at", "call_seq"),
)

campaign_reviews = sa.Table(  # the decision that stands for a campaign
    "campaign_reviews",
    metadata,
    sa.Column("campaign_seq", sa.ForeignKey("campaigns.seq"), primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("consent", sa.String(16), nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),  # that the campaign had then
    sa.Column("version", sa.Integer, nullable=False),
)

decisions = sa.Table(  # only ever added to; a call's id, not a reference: they outlive the call
    "decisions",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("call_id", sa.String(64)),  # NULL: the decision for a whole campaign
    sa.Column("campaign_id", sa.String(64)),  # made for the whole campaign
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("reviewer_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("at", UTCDateTime, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),  # confirm, dismiss, second, escalate, undo
    sa.Column("stage", sa.String(16), nullable=False),  # first, second, resolution
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("consent", sa.String(16), nullable=False),
    sa.Column("why", sa.String(16)),
    sa.Column("model", sa.String(128)),
    sa.Column("wants_second", sa.Boolean, nullable=False, default=False),  # drawn for a blind second opinion
    sa.Column("batch", sa.BigInteger, index=True),  # the campaign's decision that this is part of
    sa.Column("supersedes", sa.BigInteger, index=True),
    sa.UniqueConstraint("call_id", "version"),
    sa.Index("ix_decisions_campaign_id_seq", "campaign_id", "seq"),
    sa.Index("ix_decisions_reviewer_id_seq", "reviewer_id", "seq"),
    sqlite_autoincrement=True,
)

# At the end, since it needs all of the above: who imports `schema` knows every table.
from voiceguard.store import case_schema as case_schema  # noqa: E402
from voiceguard.store import review_schema as review_schema  # noqa: E402
