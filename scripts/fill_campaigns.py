"""Fill the look-up index of campaigns, time look-ups in it and print how large it is.

    python scripts/fill_campaigns.py --recordings 100000
    python scripts/fill_campaigns.py --recordings 1000000 --database postgresql://user@host/database

The recordings that fill it are made from real ones: each key is one of a real recording with a few bits turned
over, so that frequent keys stay frequent. ``--manifest`` (a CSV file as scripts/fingerprint_lab reads it) brings
real recordings by the thousand; without it, the sample clips are cut into pieces. A handful of real recordings
is hidden among them, and looked up by copies through other telephone channels; as many that are not there are
looked up too. A look-up is all of `similar.find`: keys, counts, and the full comparison of the best.

The database must be empty and is left filled; SQLite goes to a temporary file that is deleted. Exit code 1 if the
95th percentile of the look-ups is above ``--most-ms``, or a hidden recording was not found by 95 % of its copies.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from voiceguard.audio import RATE_HZ, decode
from voiceguard.fingerprint import VERSION, Fingerprint, compute
from voiceguard.store import migrate, schema, similar
from voiceguard.store.engine import connect, reading, writing
from voiceguard.telephony.channel import draw_channel
from voiceguard.vad import speech_frames

SAMPLES = Path(__file__).parents[1] / "audio_samples"
SECONDS = 20.0
BATCH = 20_000
HIDDEN = 40
"""Real recordings among the made ones."""


def real(manifest: Path | None, most: int) -> Iterator[np.ndarray]:
    """Yield real recordings of about 20 s, shape (n,), float32 at 8 kHz."""
    if manifest is not None:
        from scripts.fingerprint_lab.recordings import sources

        for source, _ in zip(
            sources(manifest, {"0", "1", "2", "3", "4"}, SECONDS, SECONDS), range(most), strict=False
        ):
            yield source.read()
        return
    length = int(SECONDS * RATE_HZ)
    for clip in sorted(path for path in SAMPLES.iterdir() if path.suffix not in (".csv", ".md", "")):
        samples = decode(clip).channels[0]
        for start in range(0, max(len(samples) - length // 2, 1), length // 2):
            yield np.resize(samples[start : start + length], length)


def printed(samples: np.ndarray) -> Fingerprint:
    """Fingerprint a recording."""
    return compute(samples, speech_frames(samples))


def keys_like(pool: np.ndarray, shape: tuple[int, int], flips: int, rng: np.random.Generator) -> np.ndarray:
    """Draw keys near real ones, shape as asked, int32 as the index holds them."""
    bits = int(pool.max()).bit_length()
    keys = rng.choice(pool, shape)
    for _ in range(flips):
        keys ^= np.int64(1) << rng.integers(0, bits, shape)
    return (keys ^ (keys >> 32)).astype(np.uint32).view(np.int32)


def fill(engine: sa.Engine, prints: list[Fingerprint], count: int, flips: int) -> None:
    """Store ``count`` made recordings with their keys."""
    rng = np.random.default_rng(6)
    pool = np.concatenate([print_.keys() for print_ in prints]).astype(np.int64)
    blobs = [print_.to_bytes() for print_ in prints]
    each = round(float(np.mean([len(print_.keys()) for print_ in prints])))
    first = 1
    if engine.dialect.name == "sqlite":
        everything = []
        for start in range(first, first + count, BATCH):
            size = min(BATCH, first + count - start)
            seqs = np.arange(start, start + size)
            with writing(engine) as connection:
                connection.connection.driver_connection.executemany(  # type: ignore[union-attr]
                    "INSERT INTO fingerprints (seq, channel, version, indexed, speech_s, quality, data)"
                    " VALUES (?, 0, ?, 1, 20.0, 0.5, ?)",
                    ((int(seq), VERSION, blobs[seq % len(blobs)]) for seq in seqs),
                )
            keys = keys_like(pool, (size, each), flips, rng)
            everything.append((keys.astype(np.int64) << 32 | seqs[:, None]).ravel())
        # Sorted, a table of rows that lie in the order of their key is built in one pass.
        rows = np.unique(np.concatenate(everything))
        del everything
        database = sqlite3.connect(str(engine.url.database))
        database.execute("PRAGMA synchronous = OFF")
        for start in range(0, len(rows), 1_000_000):
            some = rows[start : start + 1_000_000]
            pairs = zip((some >> 32).tolist(), (some & 0xFFFFFFFF).tolist(), strict=True)
            database.executemany("INSERT INTO fingerprint_keys VALUES (?, ?)", pairs)
            database.commit()
        database.close()
        return
    with writing(engine) as connection:
        connection.execute(sa.text("ALTER TABLE fingerprint_keys DROP CONSTRAINT pk_fingerprint_keys"))
        cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
        for start in range(first, first + count, BATCH):
            size = min(BATCH, first + count - start)
            seqs = np.arange(start, start + size)
            columns = "seq, channel, version, indexed, speech_s, quality, data"
            with cursor.copy(f"COPY fingerprints ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "int4", "int4", "bool", "float8", "float8", "bytea"])
                for seq in seqs.tolist():
                    copy.write_row((seq, 0, VERSION, True, 20.0, 0.5, blobs[seq % len(blobs)]))
            keys = keys_like(pool, (size, each), flips, rng)
            rows = np.unique(keys.astype(np.int64) << 32 | seqs[:, None])
            packed = np.zeros(
                len(rows), [("fields", ">i2"), ("a", ">i4"), ("key", ">i4"), ("b", ">i4"), ("seq", ">i4")]
            )
            packed["fields"], packed["a"], packed["b"] = 2, 4, 4
            packed["key"], packed["seq"] = rows >> 32, rows & 0xFFFFFFFF
            with cursor.copy("COPY fingerprint_keys FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + packed.tobytes() + b"\xff\xff")
        connection.execute(
            sa.text(
                "SELECT setval(pg_get_serial_sequence('fingerprints', 'seq'), max(seq)) FROM fingerprints"
            )
        )
        connection.execute(
            sa.text(
                "ALTER TABLE fingerprint_keys ADD CONSTRAINT pk_fingerprint_keys PRIMARY KEY (key, print_seq)"
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def hide(engine: sa.Engine, print_: Fingerprint) -> int:
    """Store one real recording; return its number."""
    with writing(engine) as connection:
        seq: int = connection.execute(
            sa.insert(schema.fingerprints)
            .values(
                channel=0,
                version=VERSION,
                indexed=True,
                speech_s=print_.speech_s,
                quality=0.5,
                data=print_.to_bytes(),
            )
            .returning(schema.fingerprints.c.seq)
        ).scalar_one()
        similar.add(connection, seq, print_)
    return seq


def index_bytes(engine: sa.Engine) -> int:
    """Return how large the index of keys is."""
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            try:
                query = "SELECT sum(pgsize) FROM dbstat WHERE name = 'fingerprint_keys'"
                return int(connection.scalar(sa.text(query)))
            except sa.exc.OperationalError:  # SQLite built without dbstat
                return 0
        return int(connection.scalar(sa.text("SELECT pg_total_relation_size('fingerprint_keys')")))


def look_up(engine: sa.Engine, print_: Fingerprint) -> tuple[float, float, list[int]]:
    """Look a recording up; return the milliseconds that it took, those of this process's CPU, and what it found."""
    with reading(engine) as connection:
        began, began_cpu = time.perf_counter(), time.process_time()
        found = similar.find(connection, print_)
        cpu_ms = (time.process_time() - began_cpu) * 1e3
        return (time.perf_counter() - began) * 1e3, cpu_ms, [one.print_seq for one in found]


def main() -> int:
    """Fill, look up, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--database", help="PostgreSQL URL; by default a temporary SQLite file")
    parser.add_argument("--manifest", type=Path, help="CSV of clips, for real recordings by the thousand")
    parser.add_argument("--real", type=int, default=2000, help="most real recordings to read")
    parser.add_argument("--flips", type=int, help="bits turned over in a key")
    parser.add_argument("--most-ms", type=float, default=50.0)
    options = parser.parse_args()
    flips = options.flips or (3 if options.manifest else 6)
    rng = np.random.default_rng(7)
    recordings = list(real(options.manifest, options.real))
    rng.shuffle(recordings)  # type: ignore[arg-type]
    cut = min(HIDDEN, len(recordings) // 4)
    hidden, strangers, others = recordings[:cut], recordings[cut : 2 * cut], recordings[2 * cut :]
    prints = [one for one in map(printed, others) if len(one.keys())]
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(options.database or f"sqlite:///{folder}/fill.db", durable=False)
        migrate.upgrade(engine)
        began = time.perf_counter()
        fill(engine, prints, options.recordings, flips)
        size = index_bytes(engine)
        mean_bytes = np.mean([len(print_.to_bytes()) for print_ in prints])
        print(
            f"{engine.dialect.name}: {options.recordings:,} recordings from {len(prints):,} real ones in"
            f" {time.perf_counter() - began:.0f} s; index {size / options.recordings:,.0f} bytes a recording"
            f" ({size / 1e6:,.0f} MB), fingerprint {mean_bytes:,.0f} bytes"
        )
        where = [hide(engine, printed(samples)) for samples in hidden]
        look_up(engine, prints[0])  # warm
        copies = [(number, draw_channel(rng, "mild").apply(samples)) for number, samples in enumerate(hidden)]
        looked = [(where[number], *look_up(engine, printed(samples))) for number, samples in copies]
        new = [look_up(engine, printed(samples)) for samples in strangers]
        engine.dispose()
    found = np.mean([seq in seqs for seq, _, _, seqs in looked])
    wrong = sum(bool(seqs) for _, _, seqs in new)
    worst = 0.0
    for name, times in (("copies", [one[1:3] for one in looked]), ("new", [one[:2] for one in new])):
        median, p95, most = np.percentile(times, [50, 95, 100], axis=0)
        worst = max(worst, p95[0])
        print(
            f"look-up of {name}: median {median[0]:.1f} ms, p95 {p95[0]:.1f} ms, most {most[0]:.1f} ms;"
            f" CPU of this process: median {median[1]:.1f} ms, p95 {p95[1]:.1f} ms"
        )
    print(
        f"found {found:.1%} of {len(looked)} copies; {wrong} of {len(new)} new recordings matched something"
    )
    return 0 if worst <= options.most_ms and found >= 0.95 else 1


if __name__ == "__main__":
    raise SystemExit(main())
