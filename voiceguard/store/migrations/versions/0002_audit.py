"""Audit chain.

The log and its signed checkpoints, which the database itself refuses to change, and the salt of a call's hash.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from voiceguard.store.schema import Seq, UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBERED = {"audit_log": "seq", "audit_checkpoints": "number"}


def upgrade() -> None:
    """Migrate forwards."""
    op.create_table(
        "audit_log",
        sa.Column("seq", Seq, autoincrement=False, nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=64), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_object_seq", "audit_log", ["object", "seq"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", Seq, autoincrement=False, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("timestamp_token", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_audit_checkpoints"),
    )
    op.add_column("calls", sa.Column("salt", sa.String(length=32), nullable=True))
    for table, number in _NUMBERED.items():
        for statement in _guards(table, number):
            op.execute(statement)
    if _on_postgresql():
        op.execute(_HEAD)


def downgrade() -> None:
    """Migrate backwards."""
    op.drop_column("calls", "salt")
    op.drop_table("audit_checkpoints")  # and its triggers
    op.drop_index("ix_audit_log_object_seq", table_name="audit_log")
    op.drop_table("audit_log")
    if _on_postgresql():
        op.execute("DROP FUNCTION audit_head()")
        for table in _NUMBERED:
            op.execute(f"DROP FUNCTION {table}_refuse()")
            op.execute(f"DROP FUNCTION {table}_in_order()")


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _guards(table: str, number: str) -> list[str]:
    """Return what makes the database refuse to change a table or to number a row out of order."""
    last = f"(SELECT coalesce(max({number}), 0) FROM {table})"  # noqa: S608 (names of this file)
    if not _on_postgresql():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        return [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
            # INSERT OR REPLACE deletes without the trigger above; this one stops it.
            f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} WHEN NEW.{number} <> {last} + 1 "
            f"BEGIN SELECT RAISE(ABORT, '{table} is numbered without gaps'); END",
        ]
    return [
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {table}_refuse()",
        f"CREATE FUNCTION {table}_in_order() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF NEW.{number} <> {last} + 1 THEN "
        f"RAISE EXCEPTION '{table} is numbered without gaps'; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_in_order()",
    ]


# One round trip for lock and last row. In a volatile function each statement sees what was committed before it
# began, so the row is read after the lock was got, as it must be.
_HEAD = """
CREATE FUNCTION audit_head() RETURNS TABLE (last_seq bigint, last_hash varchar) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1635083369);
    RETURN QUERY SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1;
END $$
"""
