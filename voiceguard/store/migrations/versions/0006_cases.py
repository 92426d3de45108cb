"""Cases and notices.

Providers and who is on duty there, cases with their history, notices, what is sent for them, and reports.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Json, Seq, UTCDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("case_history", "notice_templates")


def upgrade() -> None:
    """Migrate forwards."""
    op.create_table(
        "notice_templates",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("kind", "version", name="pk_notice_templates"),
    )
    op.create_table(
        "cases",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("owner_id", sa.String(length=64), nullable=True),
        sa.Column("opened_at", UTCDateTime, nullable=False),
        sa.Column("changed_at", UTCDateTime, nullable=False),
        sa.Column("closed_at", UTCDateTime, nullable=True),
        sa.Column("imported_from", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_cases_owner_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_cases"),
        sa.UniqueConstraint("id", name="uq_cases_id"),
        sa.UniqueConstraint("number", name="uq_cases_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cases_owner_id", "cases", ["owner_id"])
    op.create_index("ix_cases_state_seq", "cases", ["state", "seq"])
    op.create_table(
        "providers",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=True),
        sa.Column("spid", sa.String(length=16), nullable=True),
        sa.Column("origids", Json, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_providers_carrier_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_providers"),
        sa.UniqueConstraint("carrier_id", name="uq_providers_carrier_id"),
        sa.UniqueConstraint("id", name="uq_providers_id"),
        sa.UniqueConstraint("name", name="uq_providers_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reports",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("carrier_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["carrier_id"], ["carriers.id"], name="fk_reports_carrier_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_reports"),
        sa.UniqueConstraint("call_id", name="uq_reports_call_id"),
        sa.UniqueConstraint("id", name="uq_reports_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reports_carrier_id_seq", "reports", ["carrier_id", "seq"])
    op.create_table(
        "case_history",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_history_case_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_case_history"),
    )
    op.create_index("ix_case_history_case_seq", "case_history", ["case_seq"])
    op.create_table(
        "case_links",
        sa.Column("low_seq", Seq, autoincrement=False, nullable=False),
        sa.Column("high_seq", Seq, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["high_seq"], ["cases.seq"], name="fk_case_links_high_seq"),
        sa.ForeignKeyConstraint(["low_seq"], ["cases.seq"], name="fk_case_links_low_seq"),
        sa.PrimaryKeyConstraint("low_seq", "high_seq", name="pk_case_links"),
    )
    op.create_index("ix_case_links_high_seq", "case_links", ["high_seq"])
    op.create_table(
        "case_members",
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("added_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_members_case_seq"),
        sa.PrimaryKeyConstraint("case_seq", "object_id", name="pk_case_members"),
    )
    op.create_index("ix_case_members_object_id", "case_members", ["object_id"])
    op.create_table(
        "case_notes",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_notes_case_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_case_notes"),
    )
    op.create_index("ix_case_notes_case_seq", "case_notes", ["case_seq"])
    op.create_table(
        "case_tasks",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("due_at", UTCDateTime, nullable=True),
        sa.Column("assignee_id", sa.String(length=64), nullable=True),
        sa.Column("done_at", UTCDateTime, nullable=True),
        sa.ForeignKeyConstraint(["assignee_id"], ["users.id"], name="fk_case_tasks_assignee_id"),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_tasks_case_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_case_tasks"),
    )
    op.create_index("ix_case_tasks_assignee_id", "case_tasks", ["assignee_id"])
    op.create_index("ix_case_tasks_case_seq", "case_tasks", ["case_seq"])
    op.create_table(
        "duty_contacts",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("provider_id", sa.String(length=64), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("days", sa.String(length=7), nullable=False),
        sa.Column("from_minute", sa.Integer(), nullable=False),
        sa.Column("to_minute", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name="fk_duty_contacts_provider_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_duty_contacts"),
        sa.UniqueConstraint("id", name="uq_duty_contacts_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_duty_contacts_provider_id", "duty_contacts", ["provider_id"])
    op.create_table(
        "notices",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("provider_id", sa.String(length=64), nullable=False),
        sa.Column("template_version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("call_ids", Json, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("hours", sa.Double(), nullable=False),
        sa.Column("parent_seq", Seq, nullable=True),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("sent_at", UTCDateTime, nullable=True),
        sa.Column("due_at", UTCDateTime, nullable=True),
        sa.Column("acknowledged_at", UTCDateTime, nullable=True),
        sa.Column("answered_at", UTCDateTime, nullable=True),
        sa.Column("answer", Json, nullable=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("next_step_at", UTCDateTime, nullable=True),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_notices_case_seq"),
        sa.ForeignKeyConstraint(["parent_seq"], ["notices.seq"], name="fk_notices_parent_seq"),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name="fk_notices_provider_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_notices"),
        sa.UniqueConstraint("id", name="uq_notices_id"),
        sa.UniqueConstraint("number", name="uq_notices_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notices_case_seq", "notices", ["case_seq"])
    op.create_index("ix_notices_next_step_at", "notices", ["next_step_at"])
    op.create_index("ix_notices_parent_seq", "notices", ["parent_seq"])
    op.create_index("ix_notices_provider_id_seq", "notices", ["provider_id", "seq"])
    op.create_index("ix_notices_sent_at", "notices", ["sent_at"])
    op.create_index("ix_notices_state_due_at", "notices", ["state", "due_at"])
    op.create_table(
        "case_attachments",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("case_seq", Seq, nullable=False),
        sa.Column("note_seq", Seq, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_attachments_case_seq"),
        sa.ForeignKeyConstraint(["note_seq"], ["case_notes.seq"], name="fk_case_attachments_note_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_case_attachments"),
    )
    op.create_index("ix_case_attachments_case_seq", "case_attachments", ["case_seq"])
    op.create_index("ix_case_attachments_note_seq", "case_attachments", ["note_seq"])
    op.create_table(
        "messages",
        sa.Column("seq", Seq, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("notice_seq", Seq, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("next_attempt_at", UTCDateTime, nullable=True),
        sa.Column("leased_until", UTCDateTime, nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("sent_at", UTCDateTime, nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["notice_seq"], ["notices.seq"], name="fk_messages_notice_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_messages"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
        sa.UniqueConstraint("purpose", name="uq_messages_purpose"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_notice_seq", "messages", ["notice_seq"])
    op.create_index("ix_messages_state_next_attempt_at", "messages", ["state", "next_attempt_at"])
    for table in _APPEND_ONLY:
        for statement in _guards(table):
            op.execute(statement)


def downgrade() -> None:
    """Migrate backwards."""
    for table in (
        "messages",
        "case_attachments",
        "notices",
        "duty_contacts",
        "case_tasks",
        "case_notes",
        "case_members",
        "case_links",
        "case_history",
        "reports",
        "providers",
        "cases",
        "notice_templates",
    ):
        op.drop_table(table)  # and its triggers
    if _on_postgresql():
        for table in _APPEND_ONLY:
            op.execute(f"DROP FUNCTION {table}_refuse()")


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _guards(table: str) -> list[str]:
    """Return what makes the database refuse to change a table's rows."""
    if not _on_postgresql():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        return [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        ]
    return [
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {table}_refuse()",
    ]
