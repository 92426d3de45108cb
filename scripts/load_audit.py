"""Append to the audit log from several processes at once, and print how fast that goes.

    python scripts/load_audit.py --url postgresql://user@host/database --processes 2 --seconds 10

The database must be empty or a test's own; by default it is SQLite in a temporary folder. Each transaction writes
two rows, as that of a posted call does. Afterwards the chain is checked.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time

import numpy as np
import sqlalchemy as sa

from voiceguard.store import audit, audit_verify, migrate, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import connect, reading, writing


def work(url: str, seconds: float) -> list[float]:
    """Append for a while; return how long each transaction took."""
    engine = connect(url)
    act = Act("key_1", Action.CALL_RECEIVED, schema.new_id("call"), {"size_bytes": 240_000})
    took = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        with writing(engine) as connection:
            connection.execute(sa.insert(schema.carriers).values(name=schema.new_id("name")))
            audit.append(connection, act, act)
        took.append(time.perf_counter() - began)
    engine.dispose()
    return took


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/audit.db"
        engine = connect(url)
        migrate.upgrade(engine)
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            took = pool.starmap(work, [(url, options.seconds)] * options.processes)
        with reading(engine) as connection:
            report = audit_verify.verify(connection, [])
        engine.dispose()
    all_ms = np.concatenate(took) * 1e3
    print(
        f"{len(all_ms) / options.seconds:.0f} transactions/s from {options.processes} processes, "
        f"p50 {np.percentile(all_ms, 50):.1f} ms, p99 {np.percentile(all_ms, 99):.1f} ms; "
        f"{report.rows} rows, {len(report.findings)} findings"
    )


if __name__ == "__main__":
    main()
