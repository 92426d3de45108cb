"""Scan an archive twice, once undisturbed and once killed again and again, and compare what comes out.

    python -m scripts.kill_scan                           # 20,000 files, 10 kills, 2 worker processes
    python -m scripts.kill_scan --files 300 --kills 3

The files are pieces of the sample clips at random places and of random lengths, in mixed codecs; 2 % are broken in
mixed ways and 1 % are copies. A kill is SIGKILL to the whole process group, at a random moment. The memory of the
scan and of all its processes is printed on the way. Exit code 1 unless every file has one row and both outputs are
the same, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import soundfile

from voiceguard.audio import RATE_HZ, decode

SAMPLES = Path(__file__).parents[1] / "audio_samples"
SHORTEST_S, LONGEST_S = 1.0, 5.0
BROKEN_SHARE, COPIED_SHARE = 0.02, 0.01
FILES_PER_FOLDER = 500
SAMPLE_EVERY_S = 0.5
SAY_EVERY_S = 15.0


def write_archive(folder: Path, count: int, seed: int) -> int:
    """Write ``count`` recordings below ``folder``; return how many are broken."""
    rng = np.random.default_rng(seed)
    clips = [decode(path).channels[0] for path in sorted(SAMPLES.glob("*-*.*")) if path.suffix != ".md"]
    broken = 0
    last = b""
    last_suffix = ".wav"
    for index in range(count):
        parent = folder / f"{index // FILES_PER_FOLDER:03}"
        parent.mkdir(parents=True, exist_ok=True)
        clip = clips[int(rng.integers(len(clips)))]
        size = min(round(rng.uniform(SHORTEST_S, LONGEST_S) * RATE_HZ), len(clip))
        start = int(rng.integers(len(clip) - size + 1))
        suffix, encode = ENCODERS[int(rng.integers(len(ENCODERS)))]
        chance = rng.random()
        if chance < COPIED_SHARE and last:
            (parent / f"{index:06}{last_suffix}").write_bytes(last)
            continue
        path = parent / f"{index:06}{suffix}"
        encode(path, clip[start : start + size] * np.float32(rng.uniform(0.5, 1.0)))
        last, last_suffix = path.read_bytes(), suffix
        if chance > 1 - BROKEN_SHARE:
            path.write_bytes(break_(last, suffix, rng))
            broken += 1
    return broken


def break_(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Return what a crashed recorder, a bad disk or a wrong name leave of a file."""
    kind = int(rng.integers(4))
    if kind == 0 or suffix in HEADERLESS:  # any bytes are audio there, but none
        return b""
    if kind == 1:
        return data[: int(rng.integers(1, 24))]
    if kind == 2:
        return b"No audio at all, whatever the name says.\n"
    return rng.bytes(len(data))


def _by_soundfile(form: str, subtype: str) -> Callable[[Path, np.ndarray], None]:
    return lambda path, samples: soundfile.write(path, samples, RATE_HZ, format=form, subtype=subtype)


def _raw(subtype: str) -> Callable[[Path, np.ndarray], None]:
    return lambda path, samples: soundfile.write(path, samples, RATE_HZ, format="RAW", subtype=subtype)


def _by_ffmpeg(codec: str, container: str, rate_hz: int) -> Callable[[Path, np.ndarray], None]:
    def encode(path: Path, samples: np.ndarray) -> None:
        with av.open(str(path), "w", format=container) as out:
            stream = out.add_stream(codec, rate=rate_hz)
            stream.layout = "mono"
            pcm = np.repeat(samples, rate_hz // RATE_HZ)
            frame = av.AudioFrame.from_ndarray(
                np.round(pcm * 32767).astype("<i2")[None], format="s16", layout="mono"
            )
            frame.sample_rate = rate_hz
            for packet in (*stream.encode(frame), *stream.encode(None)):
                out.mux(packet)

    return encode


HEADERLESS = (".ulaw", ".g722")
ENCODERS: tuple[tuple[str, Callable[[Path, np.ndarray], None]], ...] = (
    (".wav", _by_soundfile("WAV", "ULAW")),
    (".wav", _by_soundfile("WAV", "ALAW")),
    (".wav", _by_soundfile("WAV", "PCM_16")),
    (".wav", _by_soundfile("WAV", "GSM610")),
    (".flac", _by_soundfile("FLAC", "PCM_16")),
    (".ogg", _by_soundfile("OGG", "OPUS")),
    (".mp3", _by_soundfile("MP3", "MPEG_LAYER_III")),
    (".ulaw", _raw("ULAW")),
    (".g722", _by_ffmpeg("g722", "g722", 16000)),
)
"""What the files are written as: extension and encoder."""


@dataclass
class Memory:
    """What a scan's processes held, in MiB."""

    scan: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)

    def take(self, leader: int) -> None:
        """Measure every process of the group that ``leader`` leads."""
        workers = 0.0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.getpgid(int(entry.name)) != leader:
                        continue
                    held = _resident_mib(entry)
                except (OSError, ValueError, IndexError):
                    continue  # it has ended meanwhile
                if int(entry.name) == leader:
                    self.scan.append(held)
                else:
                    workers += held
        self.workers.append(workers)

    def last(self) -> str:
        """Say what was measured last."""
        return f"scan {self.scan[-1] if self.scan else 0:.0f} MiB, its workers {self.workers[-1]:.0f} MiB"


def _resident_mib(entry: Path) -> float:
    for line in (entry / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("a process without memory")


def run_scan(
    folder: Path, output: Path, jobs: int, memory: Memory, *, kill_after_s: float | None = None
) -> tuple[bool, float]:
    """Scan, or go on; return whether it was killed, and the seconds it ran."""
    command = [
        sys.executable,
        "-m",
        "voiceguard",
        "scan",
        str(folder),
        "-o",
        str(output),
        "--jobs",
        str(jobs),
    ]
    with tempfile.TemporaryFile() as said:
        scan = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        began_at = told_at = time.monotonic()
        while scan.poll() is None:
            memory.take(scan.pid)
            now = time.monotonic()
            if now - told_at >= SAY_EVERY_S:
                told_at = now
                print(f"  {now - began_at:6.0f} s: {memory.last()}", flush=True)
            if kill_after_s is not None and now - began_at >= kill_after_s:
                os.killpg(scan.pid, signal.SIGKILL)
                scan.wait()
                return True, now - began_at
            time.sleep(SAMPLE_EVERY_S if kill_after_s is None else min(SAMPLE_EVERY_S, kill_after_s / 4))
        if scan.returncode not in (0, 1):
            said.seek(0)
            raise SystemExit(f"The scan ended with {scan.returncode}: {said.read().decode()}")
    return False, time.monotonic() - began_at


def main(arguments: list[str] | None = None) -> int:
    """Run both scans and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="kill-scan-") as name:
        root = Path(name)
        broken = write_archive(root / "calls", asked.files, asked.seed)
        print(f"{asked.files:,} files, {broken:,} of them broken", flush=True)

        calm = Memory()
        _, calm_s = run_scan(root / "calls", root / "calm.parquet", asked.jobs, calm)
        print(f"undisturbed: {calm_s:.0f} s, {asked.files / calm_s:.1f} files/s", flush=True)

        stormy, kills, total_s = Memory(), 0, 0.0
        killed = True
        while killed:
            after_s = rng.uniform(0.2, 1.2) * calm_s / (asked.kills + 1) if kills < asked.kills else None
            killed, seconds = run_scan(
                root / "calls", root / "stormy.parquet", asked.jobs, stormy, kill_after_s=after_s
            )
            kills += killed
            total_s += seconds
            if killed:
                journal = root / "stormy.parquet.partial"
                kept = journal.stat().st_size / 2**20 if journal.exists() else 0.0
                print(f"kill {kills} after {seconds:.1f} s; the journal holds {kept:.1f} MiB", flush=True)
        print(f"killed {kills} times: {total_s:.0f} s in all", flush=True)

        expected, found = (pq.read_table(root / f"{run}.parquet") for run in ("calm", "stormy"))
        same_bytes = (root / "calm.parquet").read_bytes() == (root / "stormy.parquet").read_bytes()
        paths = set(found.column("path").to_pylist())
        checks = {
            "a row for each file": len(paths) == found.num_rows == asked.files,
            "a reason for each broken file": found.column("error").null_count <= asked.files - broken,
            "equal rows": expected.equals(found),
            "equal bytes": same_bytes,
            "killed as often as asked": kills == asked.kills,
            "nothing left beside the outputs": sorted(path.name for path in root.iterdir())
            == ["calls", "calm.parquet", "stormy.parquet"],
        }
    for run, memory in (("undisturbed", calm), ("killed", stormy)):
        print(f"memory, {run}: {tenths(memory.scan)} (scan), {tenths(memory.workers)} (workers)")
    for check, holds in checks.items():
        print(f"{'yes' if holds else 'NO '}  {check}")
    return 0 if all(checks.values()) else 1


def tenths(held: list[float]) -> str:
    """Say what was held at each tenth of the time."""
    picked = [held[round(tenth * (len(held) - 1) / 10)] for tenth in range(1, 11)] if held else []
    return " ".join(f"{one:.0f}" for one in picked) + " MiB"


if __name__ == "__main__":
    sys.exit(main())
