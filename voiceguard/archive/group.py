"""Which recordings of an archive are copies of one: the campaigns of a scan.

After the last file, all fingerprints pass through one look-up index in the order of their paths, so that the
same archive gives the same campaigns however its scan was interrupted. Index and groups are tables of a
temporary SQLite file that vanishes with the scan: memory doesn't grow with the archive.
"""

from __future__ import annotations

import hashlib
import sqlite3

from voiceguard import fingerprint as fingerprints
from voiceguard.enforcement.campaigns import together
from voiceguard.fingerprint import Fingerprint
from voiceguard.store.campaigns import MOST_INDEXED
from voiceguard.store.similar import COVERED, candidates_on_sqlite, choose, stored_keys

_CACHE_KIB = 64 * 1024

_TABLES = (
    # The first member of a group in path order is its head; head = seq there.
    "CREATE TABLE prints (seq INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,"
    " indexed INTEGER NOT NULL, data BLOB)",
    "CREATE TABLE fingerprint_keys (key INTEGER, print_seq INTEGER, PRIMARY KEY (key, print_seq))"
    " WITHOUT ROWID",
)


class Groups:
    """Groups of recordings; :meth:`add` them all, then :meth:`settle`, then ask."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        for statement in _TABLES:
            self._db.execute(statement)

    def add(self, content: str, data: bytes) -> None:
        """Add a recording by what names its content; the same content again changes nothing."""
        if self._db.execute("SELECT 1 FROM prints WHERE content = ?", (content,)).fetchone():
            return
        print_ = Fingerprint.from_bytes(data)
        keys = stored_keys(print_.keys())
        heads, covered = self._matching(print_)
        seq = self._db.execute("SELECT coalesce(max(seq), 0) + 1 FROM prints").fetchone()[0]
        head = min(heads, default=seq)
        for other in heads - {head}:
            self._db.execute("UPDATE prints SET head = ? WHERE seq = ?", (head, other))
        worth = not covered or self._count_indexed(head) < MOST_INDEXED
        self._db.execute(
            "INSERT INTO prints VALUES (?, ?, ?, ?, ?)", (seq, content, head, worth, data if worth else None)
        )
        if worth:
            self._db.executemany("INSERT INTO fingerprint_keys VALUES (?, ?)", [(key, seq) for key in keys])
            if head != seq:
                self._db.execute("UPDATE prints SET indexed = indexed + 1 WHERE seq = ?", (head,))

    def settle(self) -> None:
        """Give every recording the head of its group; to be called when all are added."""
        # A head is always earlier than what it heads: one pass from the first to the last is enough.
        rows = self._db.execute("SELECT seq FROM prints WHERE head <> seq ORDER BY seq")
        for (seq,) in iter(rows.fetchone, None):
            self._db.execute(
                "UPDATE prints SET head = (SELECT above.head FROM prints AS above WHERE above.seq = prints.head)"
                " WHERE seq = ?",
                (seq,),
            )

    def campaign_of(self, content: str) -> str | None:
        """Return the campaign's id, made from the first recording in it; None without a fingerprint."""
        row = self._db.execute(
            "SELECT first.content FROM prints JOIN prints AS first ON first.seq = prints.head"
            " WHERE prints.content = ?",
            (content,),
        ).fetchone()
        return f"campaign_{hashlib.sha256(row[0].encode()).hexdigest()[:32]}" if row else None

    def close(self) -> None:
        """Delete the temporary tables."""
        self._db.close()

    def _matching(self, print_: Fingerprint) -> tuple[set[int], bool]:
        """Return the heads of the groups that a fingerprint belongs to, and whether one copy covers it."""
        counted = candidates_on_sqlite(self._db, stored_keys(print_.query_keys()))
        found = []
        for seq in choose([(seq, self._head(seq)) for seq, _ in counted]):
            data = self._db.execute("SELECT data FROM prints WHERE seq = ?", (seq,)).fetchone()[0]
            match = fingerprints.match(print_, Fingerprint.from_bytes(data))
            if match is not None:
                found.append((self._head(seq), match))
        found.sort(key=lambda one: -one[1].score)
        covered = any(match.common_s >= COVERED * print_.speech_s for _, match in found)
        return set(together((head, match.common_s) for head, match in found)), covered

    def _head(self, seq: int) -> int:
        while True:
            head: int = self._db.execute("SELECT head FROM prints WHERE seq = ?", (seq,)).fetchone()[0]
            if head == seq:
                return head
            seq = head

    def _count_indexed(self, head: int) -> int:
        found = self._db.execute("SELECT indexed FROM prints WHERE seq = ?", (head,)).fetchone()
        return int(found[0]) if found else 0
