"""Fill an empty database with made-up calls, fast, to see how the review pages stand a large one.

    python scripts/fill_calls.py --calls 1000000 --database postgresql://user@host/database
    python scripts/fill_calls.py --calls 100000 --database sqlite:///calls.db

Two years of calls of several carriers: a fifth carry recordings that came more than once and form campaigns,
one in twenty was flagged, most of those are decided by four people. The rows go straight into the tables
(COPY on PostgreSQL); no recording is stored, so only pages without sound work. Equal numbers give equal calls.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from voiceguard.store import migrate, people, schema
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.people import Role

DAYS = 730
CARRIERS = ("First Telecom", "Prairie Voice", "Lakeshore Mobile", "Summit Cable", "Harbor Wireless")
REVIEWERS = {"mara": Role.ANALYST, "jonas": Role.SUPERVISOR, "ines": Role.ANALYST, "tariq": Role.ANALYST}
MODEL = "functional-mlp-80b0c1f04b63"
FLAG, REVIEW = 3.912, 2.525
LEVELS = ("A", "B", "C", None)
CODECS = ("pcm_s16le", "g711_ulaw", "g711_alaw", "amr_nb", "gsm")
IN_CAMPAIGNS = 0.2
"""Share of calls whose recording came more than once."""
RANDOM_SHARE = 0.01
_END = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Drawn:
    """What is drawn of all calls, an array element a call, in the order of their arrival."""

    began: np.ndarray
    """Seconds before the end of the fill, float64, falling."""
    recording: np.ndarray
    """Which recording, int64; recordings and campaigns are one and the same here."""
    carrier: np.ndarray
    provider: np.ndarray
    """−1: not said."""
    level: np.ndarray
    caller: np.ndarray
    callee: np.ndarray
    verdict: np.ndarray
    """0 human, 1 synthetic, 2 inconclusive."""
    score: np.ndarray


def draw(count: int, rng: np.random.Generator) -> Drawn:
    """Draw all calls."""
    # More of them towards the end, and a rhythm of days.
    days = DAYS * np.sqrt(np.sort(rng.random(count)))[::-1]
    began = np.sort((DAYS - days) * 86400)[::-1]
    recording, free = np.arange(count), np.ones(count, bool)
    for size in (2 + rng.pareto(0.9, count // 60)).astype(int).clip(2, max(count // 100, 2)):
        width = min(count, max(count // 40, 10 * size))
        start = int(rng.integers(0, count - width + 1))
        members = start + rng.choice(width, min(size, width), replace=False)
        members = members[free[members]]
        recording[members], free[members] = members.min(initial=count), False
        if np.count_nonzero(~free) > IN_CAMPAIGNS * count:
            break
    size = np.bincount(recording, minlength=count)[recording]
    chance = np.random.default_rng(1).random(count)[recording]  # one draw for a recording
    limits = np.where(size > 1, 0.15, 0.024)
    verdict = np.where(chance < limits, 1, np.where(chance < limits + 0.13, 2, 0))
    spread = np.abs(np.random.default_rng(2).standard_normal(count))[recording]
    score = np.select(
        [verdict == 1, verdict == 2], [FLAG + 1.5 * spread, -1.1 + spread.clip(0, 2.2)], -1.2 - 1.7 * spread
    )
    weights = 1 / np.arange(1, 41) ** 0.8
    source = rng.choice(40, count, p=weights / weights.sum())
    provider = np.where(rng.random(count) < 0.1, -1, np.where(size > 1, source[recording], source))
    return Drawn(
        began=began,
        recording=recording,
        carrier=(provider + rng.choice(5, count, p=(0.8, 0.1, 0.05, 0.03, 0.02))) % len(CARRIERS),
        provider=provider,
        level=rng.choice(4, count, p=(0.35, 0.3, 0.05, 0.3)),
        caller=2_002_000_000 + rng.integers(0, 799_999_999, count),
        callee=2_002_000_000 + rng.integers(0, 799_999_999, count),
        verdict=verdict,
        score=np.round(score.clip(-8.38, 8.38), 3),
    )


class Writer:
    """Writes rows into a table as fast as the database takes them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._sqlite = connection.dialect.name == "sqlite"
        self._driver: Any = connection.connection.driver_connection

    def __call__(self, table: sa.Table, names: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows of the columns ``names``, separated by blanks."""
        columns = names.split()
        if self._sqlite:
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
            self._driver.executemany(statement, (tuple(map(_as_text, row)) for row in rows))
            return
        with self._driver.cursor().copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        for column in table.columns:
            if column.autoincrement is True:
                self._connection.execute(
                    sa.text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608
                        f"max({column.name})) FROM {table.name} HAVING max({column.name}) > 0"
                    )
                )


def _as_text(value: Any) -> Any:
    # As SQLAlchemy stores a moment.
    return f"{value.replace(tzinfo=None):%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, dt.datetime) else value


@contextlib.contextmanager
def without_indexes(connection: sa.Connection) -> Iterator[None]:
    """Take PostgreSQL's indexes and references away and make them again: that is quicker than to keep them."""
    if connection.dialect.name == "sqlite":
        yield
        return
    tables = "('calls', 'recordings', 'screenings', 'campaigns', 'campaign_carriers', 'reviews', 'decisions')"
    indexes = connection.execute(
        sa.text(
            f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN {tables}"  # noqa: S608
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        )
    ).all()
    references = connection.execute(
        sa.text(
            "SELECT conname, conrelid::regclass::text AS place, pg_get_constraintdef(oid) AS definition"  # noqa: S608
            f" FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text IN {tables}"
        )
    ).all()
    for row in indexes:
        connection.execute(sa.text(f"DROP INDEX {row.indexname}"))
    for row in references:
        connection.execute(sa.text(f"ALTER TABLE {row.place} DROP CONSTRAINT {row.conname}"))
    yield
    connection.execute(sa.text("SET LOCAL maintenance_work_mem = '256MB'"))
    for row in indexes:
        connection.execute(sa.text(row.indexdef))
    for row in references:
        connection.execute(sa.text(f"ALTER TABLE {row.place} ADD CONSTRAINT {row.conname} {row.definition}"))


def fill(engine: sa.Engine, count: int) -> None:
    """Fill a database that has the newest version and nothing in it."""
    rng = np.random.default_rng(7)
    drawn = draw(count, rng)
    users = [
        people.create(engine, name, role, password=f"{name} fills a queue").user.id
        for name, role in REVIEWERS.items()
    ]
    moments = [_END - dt.timedelta(seconds=float(one)) for one in drawn.began]
    with writing(engine) as connection, without_indexes(connection):
        write = Writer(connection)
        write(
            schema.carriers,
            "id name created_at",
            [(f"carrier_{n}", name, moments[0]) for n, name in enumerate(CARRIERS)],
        )
        _write_calls(write, drawn, moments)
        _write_campaigns(write, drawn, moments)
        _write_reviews(write, drawn, moments, users, rng)
        _write_figures(connection)
    if engine.dialect.name == "postgresql":  # which does that by itself in time; SQLite never does
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def call_id(number: int) -> str:
    """Return the id of a call by its number, which begin at 0."""
    return f"call_{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:032x}"


def campaign_id(number: int) -> str:
    """Return the id of a recording's campaign."""
    return f"campaign_{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:032x}"


def _sha256(number: int) -> str:
    return f"{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:064x}"


def _write_calls(write: Writer, drawn: Drawn, moments: list[dt.datetime]) -> None:
    own = np.flatnonzero(drawn.recording == np.arange(len(drawn.recording)))
    write(
        schema.recordings,
        "sha256 size_bytes container codec rate_hz duration_s stored_at",
        ((_sha256(n), 480_044, "wav", CODECS[n % 5], 8000, 20.0 + n % 60, moments[n]) for n in own.tolist()),
    )
    attestations = [json.dumps({"level": level, "verification": "not_done"}) for level in LEVELS]
    write(
        schema.calls,
        "seq id carrier_id caller callee started_at received_at attestation level upstream_provider recording_basis "
        "recording_sha256 campaign_id held",
        (
            (
                n + 1,
                call_id(n),
                f"carrier_{carrier}",
                f"+1{caller}",
                f"+1{callee}",
                moments[n] - dt.timedelta(minutes=3),
                moments[n],
                attestations[level] if LEVELS[level] else None,
                LEVELS[level] or "none",
                f"Provider {provider:02}" if provider >= 0 else None,
                "carrier",
                _sha256(recording),
                campaign_id(recording),
                False,
            )
            for n, carrier, caller, callee, level, provider, recording in zip(
                range(len(moments)),
                *(
                    column.tolist()
                    for column in (
                        drawn.carrier,
                        drawn.caller,
                        drawn.callee,
                        drawn.level,
                        drawn.provider,
                        drawn.recording,
                    )
                ),
                strict=True,
            )
        ),
    )
    names = ("human", "synthetic", "inconclusive")
    write(
        schema.screenings,
        "call_seq verdict reason score probability threshold review_threshold model deciding_channel channels "
        "screened_at",
        (
            (
                n + 1,
                names[verdict],
                "near_threshold" if verdict == 2 else None,
                score,
                0.5,
                FLAG,
                REVIEW,
                MODEL,
                0,
                _channels(names[verdict], score),
                moments[n],
            )
            for n, verdict, score in zip(
                range(len(moments)), drawn.verdict.tolist(), drawn.score.tolist(), strict=True
            )
        ),
    )


def _channels(verdict: str, score: float) -> str:
    windows = ",".join(
        f'{{"start_s": {4 * n + 0.5}, "end_s": {4 * n + 4.5}, "score": {score}}}' for n in range(4)
    )
    reason = '"near_threshold"' if verdict == "inconclusive" else "null"
    return (
        f'[{{"channel": 0, "verdict": "{verdict}", "reason": {reason}, "score": {score}, "probability": 0.5,'
        f'"windows": [{windows}], "speech": [{{"start_s": 0.5, "end_s": 16.5}}], "quality": {{"speech_s": 16.0,'
        '"level_db": -20.0, "snr_db": 30.0, "bandwidth_hz": 3400.0, "clipped_share": 0.0}}]'
    )


def _write_campaigns(write: Writer, drawn: Drawn, moments: list[dt.datetime]) -> None:
    """Write campaigns; the number of a call is that of the first call with its recording, and one more."""
    order = np.argsort(drawn.recording, kind="stable")
    starts = np.flatnonzero(np.diff(drawn.recording[order], prepend=-1))
    lasts = order[np.append(starts[1:], len(order)) - 1]
    numbers = drawn.recording[order][starts]
    sizes = np.diff(np.append(starts, len(order)))
    names = ("human", "synthetic", "inconclusive")
    write(
        schema.campaigns,
        "seq id created_at calls first_seen_at last_seen_at told_size indexed best_quality verdict score",
        (
            (
                n + 1,
                campaign_id(n),
                moments[n],
                size,
                moments[n] - dt.timedelta(minutes=3),
                moments[last] - dt.timedelta(minutes=3),
                0,
                0,
                0.7,
                names[drawn.verdict[n]],
                float(drawn.score[n]),
            )
            for n, size, last in zip(numbers.tolist(), sizes.tolist(), lasts.tolist(), strict=True)
        ),
    )
    pairs, counts = np.unique(drawn.recording * len(CARRIERS) + drawn.carrier, return_counts=True)
    write(
        schema.campaign_carriers,
        "carrier_id campaign_seq calls",
        (
            (f"carrier_{pair % len(CARRIERS)}", pair // len(CARRIERS) + 1, count)
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ),
    )


def _write_reviews(
    write: Writer, drawn: Drawn, moments: list[dt.datetime], users: list[str], rng: np.random.Generator
) -> None:
    """Write the queue and its decisions: of ten calls, seven decided, the rest open, a few in between."""
    flagged = drawn.verdict == 1
    numbers = np.flatnonzero(flagged | (rng.random(len(flagged)) < RANDOM_SHARE))
    fates = rng.choice(5, len(numbers), p=(0.28, 0.66, 0.04, 0.01, 0.01)).tolist()
    people_ = rng.integers(0, len(users), (len(numbers), 2)).tolist()
    right = (rng.random(len(numbers)) < 0.92).tolist()
    rows, made = [], []
    for n, fate, (one, other), is_right in zip(numbers.tolist(), fates, people_, right, strict=True):
        why = "flagged" if flagged[n] else "random"
        rank = float(drawn.score[n]) if flagged[n] else FLAG + 4.0 * rng.random()
        confirmed = bool(flagged[n]) == is_right
        action, outcome = ("confirm", "confirmed") if confirmed else ("dismiss", "dismissed")
        at = moments[n] + dt.timedelta(hours=20)
        reason = "synthetic_heard" if confirmed else "person_heard"
        common = (call_id(n), "Heard it whole.", "unknown", why, MODEL)
        state, version, by = "open", 0, None
        if fate in (1, 2, 3):  # decided, decided after a second opinion, waiting for one
            made.append((*common, 1, users[one], at, action, "first", reason, fate != 1))
            state, version, by = ("second" if fate == 3 else "decided"), 1, users[one]
        if fate == 2:
            by, version = users[(one + 1 + other % 3) % len(users)], 2
            made.append((*common, 2, by, at + dt.timedelta(hours=5), action, "second", reason, False))
        if fate == 4:
            made.append((*common, 1, users[one], at, "escalate", "first", "large_campaign", False))
            state, version, by = "escalated", 1, users[one]
        rows.append(
            (
                n + 1,
                why,
                rank,
                moments[n] - dt.timedelta(minutes=3),
                state,
                outcome if state == "decided" else None,
                "unknown" if version else None,
                version,
                by,
            )
        )
    write(
        schema.reviews, "call_seq why rank started_at state outcome consent version reviewer_id", iter(rows)
    )
    write(
        schema.decisions,
        "seq call_id note consent why model version reviewer_id at action stage reason wants_second",
        _numbered(sorted(made, key=lambda row: row[7])),
    )


def _write_figures(connection: sa.Connection) -> None:
    """Count what the other tables hold."""
    day = "strftime('%Y%m%d', received_at)"
    if connection.dialect.name == "postgresql":
        day = "to_char(received_at AT TIME ZONE 'UTC', 'YYYYMMDD')"
    connection.execute(
        sa.text(
            "INSERT INTO figures (day, carrier_id, provider, level, screened, flagged, confirmed, overturned, missed)"  # noqa: S608
            f" SELECT CAST({day} AS INTEGER), carrier_id, coalesce(upstream_provider, ''), level, count(*),"
            " count(CASE why WHEN 'flagged' THEN 1 END),"
            " count(CASE WHEN why = 'flagged' AND outcome = 'confirmed' THEN 1 END),"
            " count(CASE WHEN why = 'flagged' AND outcome = 'dismissed' THEN 1 END),"
            " count(CASE WHEN why <> 'flagged' AND outcome = 'confirmed' THEN 1 END)"
            " FROM calls LEFT JOIN reviews ON call_seq = seq GROUP BY 1, 2, 3, 4"
        )
    )


def _numbered(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    return ((seq, *row) for seq, row in enumerate(rows, 1))


def main() -> None:
    """Migrate, fill, say what is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--database", required=True, help="URL of an empty PostgreSQL or SQLite database")
    options = parser.parse_args()
    engine = connect(options.database, durable=False)
    migrate.upgrade(engine)
    with reading(engine) as connection:
        if connection.scalar(sa.select(sa.exists().select_from(schema.calls))):
            raise SystemExit("expected an empty database, but it holds calls")
    began = time.perf_counter()
    fill(engine, options.calls)
    took_s = time.perf_counter() - began
    with reading(engine) as connection:
        tables = (schema.calls, schema.recordings, schema.campaigns, schema.reviews, schema.decisions)
        counts = [
            f"{connection.scalar(sa.select(sa.func.count()).select_from(one)):,} {one.name}" for one in tables
        ]
    print(f"{engine.dialect.name}: {', '.join(counts)} in {took_s:.0f} s")
    engine.dispose()


if __name__ == "__main__":
    main()
