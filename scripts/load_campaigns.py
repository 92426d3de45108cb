"""Post copies of recordings from several clients to two servers on one PostgreSQL, and count the campaigns.

    python -m scripts.load_campaigns --database "$(scripts/test_postgres.sh start)"
    python -m scripts.load_campaigns --database … --posts 600 --recordings 30

Every post is a copy of its own: another telephone channel, other cuts at its ends. The clients keep no order, so
copies of one recording meet in both servers at once. Exit code 1 unless every call has a campaign, each recording
exactly one, and no two recordings the same.

The recordings are 10-second pieces of the sample clips, each at several speeds, which are different recordings;
``--manifest`` takes real ones instead (a CSV file as scripts/fingerprint_lab reads it). The database that
``--database`` names is left alone: the run makes one beside it and drops it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import queue
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import soundfile
import soxr
import sqlalchemy as sa

from voiceguard.audio import RATE_HZ, decode
from voiceguard.store import keys, migrate, schema
from voiceguard.store.engine import connect, reading
from voiceguard.store.keys import Scope
from voiceguard.telephony.channel import draw_channel
from voiceguard.vad import speech_frames

SAMPLES = Path(__file__).parents[1] / "audio_samples"
SECONDS = 10.0
SPEEDS = (1.0, 0.95, 1.05, 0.9, 1.1, 0.85, 1.16, 0.8, 1.22, 0.76, 1.28, 0.72)
"""A copy's tempo is within 1 %: further apart are other recordings."""
MOST_CUT_S = 0.5


def recordings(manifest: Path | None, count: int) -> list[np.ndarray]:
    """Return different recordings, shape (n,), float32 at 8 kHz."""
    found = list(itertools.islice(_real(manifest) if manifest else _pieces(), count))
    if len(found) < count:
        raise SystemExit(f"Expected {count} recordings, found {len(found)}: give a --manifest with more.")
    return found


def _real(manifest: Path) -> Iterator[np.ndarray]:
    from scripts.fingerprint_lab.recordings import SPOKEN_SHARE, sources

    for source in sources(manifest, {"0", "1", "2", "3", "4"}, SECONDS, SECONDS + 2):
        samples = source.read()
        if speech_frames(samples).mean() >= SPOKEN_SHARE:
            yield samples


def _pieces() -> Iterator[np.ndarray]:
    clips = [decode(path).channels[0] for path in sorted(SAMPLES.iterdir()) if _is_speech(path)]
    length = int(SECONDS * RATE_HZ)
    for speed in SPEEDS:
        for clip in clips:
            played = soxr.resample(clip, RATE_HZ, RATE_HZ / speed).astype(np.float32)
            for start in range(0, len(played) - length + 1, length):
                yield played[start : start + length]


def _is_speech(path: Path) -> bool:
    return path.suffix not in (".csv", ".md", "") and not path.name.startswith(("ringing", "dual"))


def prepare(number: int, samples: np.ndarray, folder: Path, copies: int) -> None:
    """Write copies of a recording as WAV files, each through a channel of its own."""
    rng = np.random.default_rng(number)
    for copy in range(copies):
        first, last = (int(rng.uniform(0, MOST_CUT_S) * RATE_HZ) for _ in range(2))
        heard = draw_channel(rng, "mild").apply(samples[first : len(samples) - last])
        file = io.BytesIO()
        subtype = ("ULAW", "ALAW", "PCM_16")[int(rng.integers(3))]
        soundfile.write(file, np.clip(heard, -1, 1), RATE_HZ, format="WAV", subtype=subtype)
        (folder / f"{number:04}-{copy:04}.wav").write_bytes(file.getvalue())


@contextlib.contextmanager
def served(database_url: str, folder: Path, count: int) -> Iterator[list[str]]:
    """Start servers on one database and one folder; yield their addresses."""
    environment = {
        **os.environ,
        "VOICEGUARD_DATABASE_URL": database_url,
        "VOICEGUARD_DATA_DIR": str(folder),
        "VOICEGUARD_SCREENING_WORKERS": "1",
        "VOICEGUARD_LOG_LEVEL": "warning",
        "VOICEGUARD_RATE_LIMIT": "1000000/minute",
        "OMP_NUM_THREADS": "1",
    }
    servers, urls = [], []
    for _ in range(count):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "voiceguard", "serve", "--port", str(port)]
        servers.append(subprocess.Popen(command, env=environment))
        urls.append(f"http://127.0.0.1:{port}")
    try:
        for server, url in zip(servers, urls, strict=True):
            while server.poll() is None:
                try:
                    httpx2.get(f"{url}/readyz", timeout=5).raise_for_status()
                except httpx2.HTTPError:
                    time.sleep(0.2)
                else:
                    break
            else:
                raise SystemExit("expected the server to start; see above")
        yield urls
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
        for server in servers:
            server.wait()


def post_all(urls: list[str], key: str, files: list[Path], clients: int) -> tuple[Counter[int], list[float]]:
    """Post every file once, from so many clients; return the answers by status and the seconds of each."""
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for file in files:
        waiting.put(file)
    statuses: Counter[int] = Counter()
    seconds: list[float] = []

    def _client(number: int) -> None:
        rng = random.Random(number)
        with httpx2.Client(
            headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False
        ) as client:
            while True:
                try:
                    file = waiting.get_nowait()
                except queue.Empty:
                    return
                recording, copy = file.stem.split("-")
                call = (
                    f'{{"started_at": "2026-03-01T14:05:00Z", "carrier_call_id": "{recording}",'
                    f' "callee": "+1202555{int(copy):04}"}}'
                )
                began = time.perf_counter()
                response = client.post(
                    f"{rng.choice(urls)}/v1/calls",
                    files={
                        "audio": (file.name, file.read_bytes()),
                        "call": (None, call, "application/json"),
                    },
                    headers={"Idempotency-Key": f'"{file.stem}"'},
                )
                seconds.append(time.perf_counter() - began)
                statuses[response.status_code] += 1

    threads = [threading.Thread(target=_client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses, seconds


def judge(engine: sa.Engine, wanted: int) -> bool:
    """Print what became of the calls; return whether each recording is exactly one campaign."""
    calls, campaigns = schema.calls.c, schema.campaigns.c
    with reading(engine) as connection:
        rows = connection.execute(sa.select(calls.carrier_call_id, calls.campaign_id)).all()
        alive = connection.scalar(
            sa.select(sa.func.count()).where(campaigns.merged_into.is_(None), campaigns.calls > 0)
        )
        merged = connection.scalar(sa.select(sa.func.count()).where(campaigns.merged_into.is_not(None)))
        counted = connection.scalar(sa.select(sa.func.sum(campaigns.calls)))
    by_recording, by_campaign = defaultdict(Counter), defaultdict(set)
    for recording, campaign in rows:
        by_recording[recording][campaign] += 1
        by_campaign[campaign].add(recording)
    print(
        f"{len(rows):,} calls of {len(by_recording)} recordings: {alive} campaigns (and {merged} that were merged"
        f" into them), {sum(one is None for _, one in rows)} calls in none; {counted:,} calls counted"
    )
    for recording, found in by_recording.items():
        if len(found) > 1:
            print(f"recording {recording} has {dict(found)}")
    for campaign, found in by_campaign.items():
        if len(found) > 1:
            print(f"{campaign} has the recordings {sorted(found)}")
    return alive == wanted == len(by_campaign) == len(by_recording) and counted == len(rows)


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Create a database of the run's own on the server; drop it at the end."""
    server = sa.make_url(server_url).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"voiceguard_load_{secrets.token_hex(4)}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def main() -> int:
    """Prepare, post, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--database", required=True, help="PostgreSQL URL")
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--manifest", type=Path)
    options = parser.parse_args()
    chosen = recordings(options.manifest, options.recordings)
    copies = -(-options.posts // options.recordings)
    with tempfile.TemporaryDirectory() as folder_name, new_database(options.database) as url:
        folder = Path(folder_name)
        prepared, data = folder / "copies", folder / "data"
        prepared.mkdir()
        data.mkdir()
        began = time.perf_counter()
        with ProcessPoolExecutor() as pool:
            for one in [
                pool.submit(prepare, number, samples, prepared, copies)
                for number, samples in enumerate(chosen)
            ]:
                one.result()
        files = sorted(prepared.iterdir())
        random.Random(1).shuffle(files)
        files = files[: options.posts]
        print(f"{len(files):,} copies prepared in {time.perf_counter() - began:.0f} s", flush=True)
        engine = connect(url)
        migrate.upgrade(engine)
        _, key = keys.create(engine, "load", carrier="load", scopes=frozenset({Scope.CALLS_WRITE}))
        with served(url, data, options.servers) as urls:
            began = time.perf_counter()
            statuses, seconds = post_all(urls, key, files, options.clients)
            took_s = time.perf_counter() - began
        p50, p99 = np.percentile(seconds, [50, 99])
        print(
            f"{len(files) / took_s:.1f} posts/s, answers {dict(statuses)},"
            f" p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms"
        )
        good = judge(engine, options.recordings)
        engine.dispose()
    return 0 if good and set(statuses) == {201} else 1


if __name__ == "__main__":
    raise SystemExit(main())
