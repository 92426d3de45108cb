"""What somebody who owns the database can do to the audit log."""

from __future__ import annotations

import json
import random
from typing import Any

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.audit import canonical, digest
from voiceguard.store.engine import reading, writing

TABLES = (schema.audit_log, schema.audit_checkpoints)
_TRIGGERS = {
    "sqlite": ("no_update", "no_delete", "in_order"),
    "postgresql": ("no_change", "no_truncate", "in_order"),
}


class Log:
    """A log whose triggers are gone; it can be put back to what it was."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._kept: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Log:
        with writing(self.engine) as connection:
            for table in TABLES:
                for name in _TRIGGERS[self.engine.dialect.name]:
                    on = f" ON {table.name}" if self.engine.dialect.name == "postgresql" else ""
                    connection.execute(sa.text(f"DROP TRIGGER {table.name}_{name}{on}"))
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the database goes with the test."""

    def execute(self, statement: str, **values: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(sa.text(statement), values)

    def remember(self) -> None:
        with reading(self.engine) as connection:
            for table in TABLES:
                self._kept[table.name] = [row._asdict() for row in connection.execute(sa.select(table))]

    def restore(self) -> None:
        with writing(self.engine) as connection:
            for table in TABLES:
                connection.execute(sa.delete(table))
                connection.execute(sa.insert(table), self._kept[table.name])

    def rewrite_from(self, seq: int, *, actor: str) -> None:
        """Change a row's actor and write all later hashes anew."""
        table = schema.audit_log
        with writing(self.engine) as connection:
            rows = connection.execute(sa.select(table).where(table.c.seq >= seq).order_by(table.c.seq)).all()
            previous = None
            for row in rows:
                fields = json.loads(row.entry)
                fields["actor"] = actor if row.seq == seq else fields["actor"]
                fields["previous"] = previous or fields["previous"]
                entry = canonical(fields)
                previous = digest(entry)
                connection.execute(
                    sa.update(table)
                    .where(table.c.seq == row.seq)
                    .values(actor=fields["actor"], entry=entry, hash=previous)
                )


def random_edit(log: Log, random_: random.Random) -> str:
    """Make one change to the log or its checkpoints; return what it was."""
    table = random_.choices(TABLES, weights=(4, 1))[0]
    number = table.primary_key.columns[0]
    with reading(log.engine) as connection:
        rows = connection.execute(sa.select(table).order_by(number)).all()
    row = random_.choice(rows)
    kind = random_.choice(["column", "column", "delete", "insert", "swap", "rehash"])
    with writing(log.engine) as connection:
        if kind == "delete":
            connection.execute(sa.delete(table).where(number == row[0]))
            return f"deleted {table.name} {row[0]}"
        if kind == "insert":
            at = random_.choice([rows[-1][0] + random_.randrange(1, 5), -random_.randrange(5)])
            connection.execute(sa.insert(table).values(**{**row._asdict(), number.name: at}))
            return f"inserted a copy of {table.name} {row[0]} as {at}"
        if kind == "swap":
            other = random_.choice([one for one in rows if one[0] != row[0]])
            for one, place in ((row, -100), (other, row[0]), (row, other[0])):
                old = -100 if place == other[0] else one[0]
                connection.execute(sa.update(table).where(number == old).values({number.name: place}))
            return f"swapped {table.name} {row[0]} and {other[0]}"
        if kind == "rehash" and table is schema.audit_log:
            entry = canonical({**json.loads(row.entry), "actor": "key_of_somebody_else"})
            connection.execute(
                sa.update(table)
                .where(number == row[0])
                .values(entry=entry, hash=digest(entry), actor="key_of_somebody_else")
            )
            return f"rewrote audit_log {row[0]} with its hash"
        column = random_.choice([one for one in table.columns if one is not number])
        value = _other(row._asdict()[column.name], random_)
        connection.execute(sa.update(table).where(number == row[0]).values({column.name: value}))
        return f"{table.name} {row[0]}: {column.name} to {value!r}"


def _other(value: Any, random_: random.Random) -> Any:
    if value is None:
        return "AAAA"
    if isinstance(value, int):
        return value + random_.choice([-1, 1, 1000])
    if not isinstance(value, str):
        return value.replace(microsecond=(value.microsecond + random_.randrange(1, 1000)) % 1_000_000)
    at = random_.randrange(len(value))
    kind = random_.randrange(4)
    if kind == 0:
        return value[:at] + value[at + 1 :]
    if kind == 1:
        return value + random_.choice(" \n0a")
    flipped = chr(ord(value[at]) ^ (1 << random_.randrange(7)))
    return value[:at] + (flipped if flipped != "\0" else "?") + value[at + 1 :]
