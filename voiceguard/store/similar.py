"""The look-up index: which stored fingerprints share keys with a new one.

A row of ``fingerprint_keys`` says that a fingerprint has a key. A look-up fetches the rows of the new
fingerprint's keys and counts how often each stored one comes up. A key that very many fingerprints have says
little, so only its first rows are read and one look-up costs the same whatever the index holds.

Fingerprints are numbered in the order of their commits: on SQLite because it has one writer, on PostgreSQL
because `voiceguard.store.campaigns.serialise` lets one transaction after the other add them. So "later than
what I saw" is a number.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from voiceguard import fingerprint as fingerprints
from voiceguard.fingerprint import Fingerprint, Match
from voiceguard.store import schema

ROWS_PER_KEY = 100
"""Most rows of one key that a look-up reads, the earliest ones."""
LEAST_SHARED = 1
"""A fingerprint that shares fewer keys is not compared; keys are wide enough for one to say something."""
MOST_COUNTED = 32
"""So many fingerprints with the most shared keys are looked at."""
MOST_COMPARED = 6
"""So many of these are compared in full."""
COVERED = 0.8
"""A recording of which a copy has this share is known in full."""
COMPARED_PER_GROUP = 2
"""Of one campaign's copies, so many are compared in full: they are the same recording."""

# SQLite has no LATERAL; the last row to read of each key, found first, says the same. All of it runs inside SQLite,
# without Python's lock.
_ON_SQLITE = (
    "WITH wanted AS MATERIALIZED (SELECT value AS key, ifnull((SELECT one.print_seq FROM fingerprint_keys AS one"
    " WHERE one.key = value AND one.print_seq > :after ORDER BY one.print_seq LIMIT 1 OFFSET :rows - 1),"
    " 9223372036854775807) AS last FROM json_each(:keys))"
    " SELECT found.print_seq, count(*) AS shared"
    " FROM wanted CROSS JOIN fingerprint_keys AS found ON found.key = wanted.key"
    " AND found.print_seq > :after AND found.print_seq <= wanted.last"
    " GROUP BY found.print_seq HAVING count(*) >= :least"
    " ORDER BY shared DESC, found.print_seq LIMIT :most"
)
_ON_POSTGRESQL = sa.text(
    "SELECT found.print_seq, count(*) AS shared"
    " FROM unnest(CAST(:keys AS integer[])) AS wanted(key),"
    " LATERAL (SELECT print_seq FROM fingerprint_keys"
    " WHERE fingerprint_keys.key = wanted.key AND print_seq > :after ORDER BY print_seq LIMIT :rows) AS found"
    " GROUP BY found.print_seq HAVING count(*) >= :least"
    " ORDER BY shared DESC, found.print_seq LIMIT :most"
)
_LIMITS = {"rows": ROWS_PER_KEY, "least": LEAST_SHARED, "most": MOST_COUNTED}

_prints = schema.fingerprints.c
_AMONG = _prints.seq.in_(sa.bindparam("seqs", expanding=True))
_NEWEST = sa.select(sa.func.max(_prints.seq))
_INDEXED_SINCE = sa.exists().where(_prints.seq > sa.bindparam("after"), _prints.indexed).select()
_GROUPS = sa.select(_prints.seq, _prints.campaign_seq, _prints.announcement_seq).where(
    _AMONG, _prints.version == fingerprints.VERSION
)
_DATA = sa.select(_prints.seq, _prints.data).where(_AMONG)


@dataclass(frozen=True)
class Similar:
    """A stored fingerprint that matches a new one."""

    print_seq: int
    campaign_seq: int | None
    announcement_seq: int | None
    match: Match


def stored_keys(keys: np.ndarray | Sequence[int]) -> list[int]:
    """Return keys, each once, as the index has them: folded into 32 bits with a sign."""
    wide = np.asarray(keys, dtype=np.int64)
    low = (wide ^ (wide >> 32)).astype(np.uint32)
    return np.unique(low.view(np.int32)).tolist()


def add(connection: sa.Connection, print_seq: int, print_: Fingerprint) -> None:
    """Put a fingerprint into the index."""
    keys = stored_keys(print_.keys())
    if not keys:
        return
    table = schema.fingerprint_keys
    if connection.dialect.name == "sqlite":
        # Past SQLAlchemy, which takes four times as long over forty small rows.
        _sqlite(connection).executemany(
            f"INSERT INTO {table.name} VALUES (?, ?)",  # noqa: S608
            [(key, print_seq) for key in keys],
        )
        return
    connection.execute(
        sa.text(f"INSERT INTO {table.name} SELECT unnest(CAST(:keys AS integer[])), :print_seq"),
        {"keys": keys, "print_seq": print_seq},
    )


def remove(connection: sa.Connection, print_seq: int, print_: Fingerprint) -> None:
    """Take a fingerprint out of the index."""
    table = schema.fingerprint_keys
    keys = stored_keys(print_.keys())
    for start in range(0, len(keys), 500):
        connection.execute(
            sa.delete(table).where(table.c.key.in_(keys[start : start + 500]), table.c.print_seq == print_seq)
        )


def newest(connection: sa.Connection) -> int:
    """Return the number of the latest fingerprint, 0 if there is none."""
    return connection.scalar(_NEWEST) or 0


def indexed_since(connection: sa.Connection, after_seq: int) -> bool:
    """Say whether a fingerprint later than ``after_seq`` is in the index; most of a campaign's are not."""
    return bool(connection.scalar(_INDEXED_SINCE, {"after": after_seq}))


def candidates(
    connection: sa.Connection, query_keys: np.ndarray | Sequence[int], *, after_seq: int = 0
) -> list[tuple[int, int]]:
    """Return stored fingerprints later than ``after_seq`` and how many keys they share, most first."""
    keys = stored_keys(query_keys)
    if not keys:
        return []
    if connection.dialect.name == "sqlite":
        return candidates_on_sqlite(_sqlite(connection), keys, after_seq=after_seq)
    found = connection.execute(_ON_POSTGRESQL, {"keys": keys, "after": after_seq, **_LIMITS})
    return [(row.print_seq, row.shared) for row in found]


def candidates_on_sqlite(
    database: sqlite3.Connection, keys: Sequence[int], *, after_seq: int = 0
) -> list[tuple[int, int]]:
    """Do what `candidates` does on any SQLite database with the table of keys; ``keys`` as stored."""
    values = {"keys": json.dumps(list(keys)), "after": after_seq, **_LIMITS}
    return database.execute(_ON_SQLITE, values).fetchall()


def find(connection: sa.Connection, print_: Fingerprint, *, after_seq: int = 0) -> list[Similar]:
    """Return the stored fingerprints that match, the best first.

    Parameters
    ----------
    connection
        Of any transaction.
    print_
        The new fingerprint.
    after_seq
        Only fingerprints later than this one.
    """
    counted = candidates(connection, print_.query_keys(), after_seq=after_seq)
    if not counted:
        return []
    rows = {row.seq: row for row in connection.execute(_GROUPS, {"seqs": [seq for seq, _ in counted]})}
    chosen = choose([(seq, rows[seq].campaign_seq) for seq, _ in counted if seq in rows])
    data = {row.seq: row.data for row in connection.execute(_DATA, {"seqs": chosen})}
    similar: list[Similar] = []
    covered: set[int] = set()
    for seq in chosen:
        known = rows[seq]
        if seq not in data or known.campaign_seq in covered:
            continue
        match = fingerprints.match(print_, Fingerprint.from_bytes(data[seq]))
        if match is None:
            continue
        similar.append(Similar(seq, known.campaign_seq, known.announcement_seq, match))
        if known.campaign_seq is not None and match.common_s >= COVERED * print_.speech_s:
            covered.add(known.campaign_seq)  # another of its copies would say nothing new
    return sorted(similar, key=lambda one: (-one.match.score, one.print_seq))


def choose(counted: Iterable[tuple[int, int | None]]) -> list[int]:
    """Choose what to compare in full from fingerprints and their groups, most shared keys first."""
    chosen: list[int] = []
    groups: Counter[int] = Counter()
    for seq, group in counted:
        if group is not None:
            groups[group] += 1
            if groups[group] > COMPARED_PER_GROUP:
                continue
        chosen.append(seq)
        if len(chosen) == MOST_COMPARED:
            break
    return chosen


def _sqlite(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
