"""The tables of enforcement: providers, cases, notices and what is sent for them; a part of `schema`."""

from __future__ import annotations

import sqlalchemy as sa

from voiceguard.store.schema import Json, Seq, UTCDateTime, metadata, new_id

providers = sa.Table(
    "providers",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("provider")),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), unique=True),  # whose API keys are the provider's
    sa.Column("spid", sa.String(16)),  # service provider code, such as an OCN
    sa.Column("origids", Json, nullable=False),  # what its SHAKEN tokens name as origin
    sa.Column("email", sa.String(254)),  # where notices go
    sa.Column("created_at", UTCDateTime, nullable=False),
    sqlite_autoincrement=True,
)

duty_contacts = sa.Table(  # who is paged, in this order; provider_id NULL: of the agency itself
    "duty_contacts",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("contact")),
    sa.Column("provider_id", sa.ForeignKey("providers.id"), index=True),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(254)),
    sa.Column("webhook", sa.Text),
    sa.Column("secret", sa.Text, nullable=False),  # plain: it signs the webhook
    sa.Column("days", sa.String(7), nullable=False),  # Monday first, 1 is on duty
    sa.Column("from_minute", sa.Integer, nullable=False),  # of the day, UTC
    sa.Column("to_minute", sa.Integer, nullable=False),  # not included; before from_minute: past midnight
    sqlite_autoincrement=True,
)

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("case")),
    sa.Column("number", sa.String(32), nullable=False, unique=True),  # 2026-0001
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # open, noticed, answered, closed
    sa.Column("outcome", sa.String(32)),  # once closed
    sa.Column("owner_id", sa.ForeignKey("users.id"), index=True),
    sa.Column("opened_at", UTCDateTime, nullable=False),
    sa.Column("changed_at", UTCDateTime, nullable=False),
    sa.Column("closed_at", UTCDateTime),
    sa.Column("imported_from", sa.String(64)),  # id that it has where it came from
    sa.Index("ix_cases_state_seq", "state", "seq"),
    sqlite_autoincrement=True,
)

case_members = sa.Table(  # ids and no references: the case outlives a deleted call
    "case_members",
    metadata,
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), primary_key=True),
    sa.Column("object_id", sa.String(64), primary_key=True),  # call_… or campaign_…
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("added_at", UTCDateTime, nullable=False),
    sa.Index("ix_case_members_object_id", "object_id"),
)

case_links = sa.Table(
    "case_links",
    metadata,
    sa.Column("low_seq", sa.ForeignKey("cases.seq"), primary_key=True, autoincrement=False),
    sa.Column("high_seq", sa.ForeignKey("cases.seq"), primary_key=True, autoincrement=False, index=True),
)

case_tasks = sa.Table(
    "case_tasks",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), nullable=False, index=True),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Column("due_at", UTCDateTime),
    sa.Column("assignee_id", sa.ForeignKey("users.id"), index=True),
    sa.Column("done_at", UTCDateTime),
)

case_notes = sa.Table(
    "case_notes",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), nullable=False, index=True),
    sa.Column("at", UTCDateTime, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

case_attachments = sa.Table(  # the bytes lie beside the recordings, under their hash
    "case_attachments",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), nullable=False, index=True),
    sa.Column("note_seq", sa.ForeignKey("case_notes.seq"), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)

case_history = sa.Table(
    "case_history",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), nullable=False, index=True),
    sa.Column("at", UTCDateTime, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("detail", Json, nullable=False),
)
"""Append-only: triggers of the migration refuse an update and a deletion."""

notice_templates = sa.Table(  # a version is never changed
    "notice_templates",
    metadata,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("notice")),
    sa.Column("case_seq", sa.ForeignKey("cases.seq"), nullable=False, index=True),
    sa.Column("number", sa.String(40), nullable=False, unique=True),  # 2026-0001-N1
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("provider_id", sa.ForeignKey("providers.id"), nullable=False),
    sa.Column("template_version", sa.Integer, nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # Markdown, as it goes out
    sa.Column("call_ids", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("hours", sa.Double, nullable=False),  # that the provider has
    sa.Column("parent_seq", sa.ForeignKey("notices.seq"), index=True),  # whose answer led to this one
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("sent_at", UTCDateTime),
    sa.Column("due_at", UTCDateTime),
    sa.Column("acknowledged_at", UTCDateTime),
    sa.Column("answered_at", UTCDateTime),  # or disputed
    sa.Column("answer", Json),
    sa.Column("step", sa.Integer, nullable=False, default=0),  # of its clock, done
    sa.Column("next_step_at", UTCDateTime, index=True),  # NULL: the clock stands
    sa.Index("ix_notices_provider_id_seq", "provider_id", "seq"),
    sa.Index("ix_notices_state_due_at", "state", "due_at"),
    sa.Index("ix_notices_sent_at", "sent_at"),
    sqlite_autoincrement=True,
)

messages = sa.Table(  # mails and pages on their way: the outbox of what is no carrier's webhook
    "messages",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("message")),
    sa.Column("purpose", sa.String(100), nullable=False, unique=True),  # what it is for: none is queued twice
    sa.Column("channel", sa.String(16), nullable=False),  # email, webhook
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("secret", sa.Text),  # of a webhook
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("notice_seq", sa.ForeignKey("notices.seq"), index=True),
    sa.Column("state", sa.String(16), nullable=False),  # pending, handing, sent, failed, uncertain
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("next_attempt_at", UTCDateTime),
    sa.Column("leased_until", UTCDateTime),
    sa.Column("lease", sa.String(32)),
    sa.Column("sent_at", UTCDateTime),
    sa.Column("error", sa.String(200)),
    sa.Index("ix_messages_state_next_attempt_at", "state", "next_attempt_at"),
    sqlite_autoincrement=True,
)

reports = sa.Table(  # calls that a provider drew attention to
    "reports",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True, default=lambda: new_id("report")),
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), nullable=False),
    sa.Column("call_id", sa.String(64), nullable=False, unique=True),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Index("ix_reports_carrier_id_seq", "carrier_id", "seq"),
    sqlite_autoincrement=True,
)
