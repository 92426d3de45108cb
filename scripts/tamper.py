"""Tamper with packages and with the audit log at random, and count what is not found.

    python scripts/tamper.py --flips 1000 --edits 1000

It stores calls in a temporary folder, makes a package of each, flips single bits of the packages and verifies
each; then it edits the audit log of a database whose triggers are gone and verifies each. Exit code 1 if
anything passed.
"""

from __future__ import annotations

import argparse
import collections
import io
import random
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.evidence.conftest import Archive, new_archive  # noqa: E402
from tests.store.tamper import Log, random_edit  # noqa: E402
from voiceguard.evidence import container  # noqa: E402
from voiceguard.evidence.verify import verify  # noqa: E402
from voiceguard.store import audit, audit_verify, checkpoints, schema  # noqa: E402
from voiceguard.store.audit import Act, Action  # noqa: E402
from voiceguard.store.engine import reading, writing  # noqa: E402

CLIPS = ("synthetic-flite-slt-pcm.wav", "dual-channel-bail-scam.wav", "human-asterisk-fr-g722.g722")


def flip_bits(store: Archive, folder: Path, count: int, random_: random.Random) -> int:
    """Flip ``count`` bits in packages, half of them anywhere, half in small files and headers."""
    passed = 0
    steps: collections.Counter[str] = collections.Counter()
    paths = []
    for number, clip in enumerate(CLIPS):
        paths.append(folder / f"{number}.zip")
        store.make(store.store(clip), paths[-1])
    packages = [path.read_bytes() for path in paths]
    victim = folder / "victim.zip"
    for number in range(count):
        data = bytearray(random_.choice(packages))
        entries = container.read(io.BytesIO(data))
        at = random_.randrange(len(data))
        if number % 2:
            chosen = random_.choice([one for one in entries if one.size_bytes < 10_000])
            places = [(chosen.header_at, chosen.end), (entries[-1].end, len(data))]
            at = random_.randrange(*random_.choice(places))
        data[at] ^= 1 << random_.randrange(8)
        victim.write_bytes(data)
        last = list(verify(victim))[-1]
        inside = next((one.name for one in entries if one.data_at <= at < one.end), None)
        steps[f"step {last.number}"] += 1
        if last.state != "failed":
            passed += 1
            print(f"PASSED: bit at byte {at}")
        elif inside is not None and last.number != 2 and not any(inside in one for one in last.details):
            passed += 1
            print(f"NOT NAMED: {inside} at byte {at}: {last.details}")
    print(
        f"{count} single bits flipped in {len(packages)} packages, {passed} not found; {dict(sorted(steps.items()))}"
    )
    return passed


def edit_log(store: Archive, count: int, random_: random.Random) -> int:
    """Make ``count`` random edits of the log and its checkpoints, each of a sound log."""
    for batch in range(10):
        for number in range(20):
            with writing(store.engine) as connection:
                act = Act("key_1", Action.CALL_AUDIO_FETCHED, f"call_{number}", {"bytes": [batch, number]})
                audit.append(connection, act)
        checkpoints.seal(store.engine, store.key)
    with reading(store.engine) as connection:
        last = checkpoints.latest(connection)
        rows = connection.scalar(sa.select(sa.func.count()).select_from(schema.audit_log))
    assert last is not None
    passed, kinds = 0, collections.Counter[str]()
    with Log(store.engine) as log:
        log.remember()
        for _ in range(count):
            what = random_edit(log, random_)
            kinds[what.split()[0]] += 1
            with reading(store.engine) as connection:
                report = audit_verify.verify(connection, [store.key.public], kept=[last.statement])
            if not report.findings:
                passed += 1
                print(f"PASSED: {what}")
            log.restore()
    print(f"{count} random edits of a log of {rows} rows, {passed} not found; {dict(sorted(kinds.items()))}")
    return passed


def main() -> int:
    """Tamper and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20240208)
    options = parser.parse_args()
    random_ = random.Random(options.seed)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        store = new_archive(Path(name) / "archive", ROOT / "audio_samples")
        passed = flip_bits(store, Path(name), options.flips, random_) + edit_log(
            store, options.edits, random_
        )
        store.engine.dispose()
    print(f"{time.perf_counter() - began:.0f} s")
    return 1 if passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
