"""Post 30-second G.711 calls at a steady rate and print what the server makes of it.

    python scripts/load_api.py --rate 25 --seconds 60

It starts ``voiceguard serve`` on SQLite and files in a temporary folder, or uses ``--url`` and ``--key``. The load is
open: posts leave on schedule however slow the answers are, and a latency counts from the scheduled moment. Exit code 1
if a post failed, or p99 or the rate missed the mark.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx2
import numpy as np
import soundfile
import uvloop

CLIP_S = 30.0
RATE_HZ = 8000
SAMPLE = Path(__file__).parents[1] / "audio_samples" / "human-asterisk-en-ulaw.wav"
CALL = json.dumps({"started_at": "2026-03-01T14:05:00Z", "caller": "+12025550123"})


def clip() -> bytes:
    """Return 30 seconds of speech as a µ-law WAV file, its last bytes free to be numbered."""
    samples, _ = soundfile.read(SAMPLE, dtype="int16")
    out = io.BytesIO()
    soundfile.write(out, np.resize(samples, int(CLIP_S * RATE_HZ)), RATE_HZ, format="WAV", subtype="ULAW")
    return out.getvalue()


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in megabytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(rss_mb(int(child)) for child in children)


def cpu_s(pid: int) -> np.ndarray:
    """Return the processor seconds that a process has used, and those of its children; shape (2,)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return np.array([own, sum(cpu_s(int(one)).sum() for one in children)])


def post(url: SplitResult, key: str, idempotent: str, audio: bytes) -> bytes:
    """Return a post's bytes: HTTP/1.1 with multipart/form-data."""
    boundary = "-" * 8 + os.urandom(8).hex()
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="call"\r\n'
        f"Content-Type: application/json\r\n\r\n{CALL}\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="call.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    end = f"\r\n--{boundary}--\r\n"
    head = (
        f"POST /v1/calls HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f'Idempotency-Key: "{idempotent}"\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n'
        f"Content-Length: {len(form) + len(audio) + len(end)}\r\n\r\n"
    )
    return b"".join([head.encode(), form.encode(), audio, end.encode()])


async def load(
    address: str, key: str, rate: float, seconds: float
) -> tuple[list[float], Counter[int], float]:
    """Post on schedule; return latencies in seconds, answers by status, and the seconds until the last one."""
    url, audio, seed = urlsplit(address), clip(), os.urandom(4)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    # The client shares the server's cores: bare streams, kept open, cost it less than half of aiohttp.
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    began = time.perf_counter()

    async def _post(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        while idle and idle[-1][0].at_eof():  # the server closed it, unused for seconds
            idle.pop()[1].close()
        reader, writer = idle.pop() if idle else await asyncio.open_connection(url.hostname, url.port)
        numbered = audio[:-8] + seed + number.to_bytes(4, "big")
        writer.write(post(url, key, f"{seed.hex()}-{number}", numbered))
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(field for field in fields if field.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        latencies.append(time.perf_counter() - due)
        statuses[int(status.split()[1])] += 1
        if "connection: close" in fields:
            writer.close()
        else:
            idle.append((reader, writer))

    await asyncio.gather(*(_post(number) for number in range(int(rate * seconds))))
    took_s = time.perf_counter() - began
    for _, writer in idle:
        writer.close()
    return latencies, statuses, took_s


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str, str]:
    """Start a server; return it, its address and a key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "VOICEGUARD_DATA_DIR": str(folder), "VOICEGUARD_LOG_LEVEL": "warning"}
    voiceguard = [sys.executable, "-m", "voiceguard"]
    key = subprocess.run(
        [*voiceguard, "key", "create", "load"], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    server = subprocess.Popen([*voiceguard, "serve", "--port", str(port)], env=environment)
    url = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            httpx2.get(f"{url}/readyz", timeout=5).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return server, url, key
    raise SystemExit("expected the server to start; see above")


def main() -> int:
    """Run the load and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rate", type=float, default=25.0, help="posts a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--max-p99", type=float, default=0.5, help="seconds")
    parser.add_argument("--url")
    parser.add_argument("--key")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = None
        if options.url is None:
            server, url, key = serve(Path(folder))
        else:
            url, key = options.url, options.key
        try:
            uvloop.run(load(url, key, min(options.rate, 5), 3))  # warm
            before = (rss_mb(server.pid), cpu_s(server.pid)) if server else (0.0, np.zeros(2))
            latencies, statuses, took_s = uvloop.run(load(url, key, options.rate, options.seconds))
            after = (rss_mb(server.pid), cpu_s(server.pid)) if server else (0.0, np.zeros(2))
        finally:
            if server is not None:
                server.send_signal(signal.SIGTERM)
                server.wait()
    p50, p99 = np.percentile(latencies, [50, 99])
    reached = statuses[201] / took_s
    print(f"posts/s {reached:.1f}  answers {dict(statuses)}  p50 {p50 * 1e3:.0f} ms  p99 {p99 * 1e3:.0f} ms")
    if server is not None:
        own_ms, screening_ms = (after[1] - before[1]) / max(1, statuses[201]) * 1e3
        print(
            f"RSS {before[0]:.0f} -> {after[0]:.0f} MB  CPU a post: screening processes {screening_ms:.0f} ms, "
            f"server {own_ms:.0f} ms"
        )
    good = set(statuses) == {201} and p99 <= options.max_p99 and reached >= 0.98 * options.rate
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
