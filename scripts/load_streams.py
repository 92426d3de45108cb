"""Stream live calls to a server at the pace they speak, and print what it makes of them.

    python scripts/load_streams.py --streams 100 --seconds 30
    python scripts/load_streams.py --streams 100 --idle 1000

It starts ``voiceguard serve`` on SQLite and files in a temporary folder. Each stream is a Twilio-shaped WebSocket with
20 ms messages of a synthetic voice or a person's; ``--idle`` more connections start and send silence now and then. The
latency of a verdict counts from the moment its deciding audio was sent. Exit code 1 if a stream was dropped, a call
not stored, or p99 missed the mark. The client writes ready-made frames, so that it takes little of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import io
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
import numpy as np
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).parent))
from load_api import cpu_s, rss_mb

RATE_HZ = 8000
FRAME_S = 0.02
SAMPLES = Path(__file__).parents[1] / "audio_samples"
CLIPS = (
    "synthetic-hibari-heart-flac.flac",
    "human-drascula-en-flac.flac",
    "human-fillets-nl-mp3.mp3",
    "synthetic-flite-slt-pcm.wav",
    "human-asterisk-en-ulaw.wav",
)


@dataclasses.dataclass
class Tally:
    """What came of the streams."""

    latencies_s: list[float] = dataclasses.field(default_factory=list)
    decided_after_s: list[float] = dataclasses.field(default_factory=list)
    looks_s: list[float] = dataclasses.field(default_factory=list)
    ends: Counter[str] = dataclasses.field(default_factory=Counter)
    late_s: float = 0.0


def frame_of(text: bytes) -> bytes:
    """Return a client's text frame (RFC 6455) whose mask is zero, so that nothing needs to be masked."""
    if len(text) < 126:
        return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text
    return bytes([0x81, 0x80 | 126]) + len(text).to_bytes(2, "big") + bytes(4) + text


def messages(clip: str, seconds: float) -> list[bytes]:
    """Return a clip's media frames, ready to be sent."""
    samples, rate_hz = soundfile.read(SAMPLES / clip, dtype="float32")
    samples = soxr.resample(samples, rate_hz, RATE_HZ)
    audio = np.resize(samples, int(seconds * RATE_HZ))
    file = io.BytesIO()
    soundfile.write(file, audio, RATE_HZ, format="RAW", subtype="ULAW")
    data, size = file.getvalue(), int(FRAME_S * RATE_HZ)
    return [_media(index, data[index * size : (index + 1) * size]) for index in range(len(data) // size)]


def _media(index: int, audio: bytes) -> bytes:
    media = {
        "track": "inbound",
        "chunk": str(index + 1),
        "timestamp": str(20 * index),
        "payload": base64.b64encode(audio).decode(),
    }
    said = {"event": "media", "sequenceNumber": str(index + 2), "media": media, "streamSid": "MZ0"}
    return frame_of(json.dumps(said, separators=(",", ":")).encode())


async def connect(port: int, key: str, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket and send the start message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /v1/streams/twilio HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {key}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
    start = {
        "streamSid": "MZ0",
        "callSid": name,
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
    }
    writer.write(frame_of(json.dumps({"event": "start", "start": start}).encode()))
    return reader, writer


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    """Yield the server's events; answer its pings."""
    while True:
        head = await reader.readexactly(2)
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        payload = await reader.readexactly(length)
        kind = head[0] & 15
        if kind == 9:
            writer.write(bytes([0x8A, 0x80 | length]) + bytes(4) + payload)
        elif kind == 8:
            yield {
                "event": "close",
                "code": int.from_bytes(payload[:2], "big"),
                "reason": payload[2:].decode(),
            }
            return
        elif kind == 1:
            yield json.loads(payload)


async def stream(port: int, key: str, name: str, media: list[bytes], delay_s: float, tally: Tally) -> None:
    """Stream one call at the pace it speaks."""
    await asyncio.sleep(delay_s)
    reader, writer = await connect(port, key, name)
    began = time.perf_counter()
    stored = ""

    async def _listen() -> None:
        nonlocal stored
        async for event in events(reader, writer):
            now = time.perf_counter()
            if event["event"] in ("verdict", "progress"):
                # The clock that asked for the look stood at audio_s; that audio left at this moment.
                waited_s = now - began - event["audio_s"]
                tally.looks_s.append(waited_s)
                if event["event"] == "verdict" and not event["revised"]:
                    tally.latencies_s.append(waited_s)
                    tally.decided_after_s.append(event["speech_s"])
            elif event["event"] == "end":
                stored = event["call_id"] or ""
            elif event["event"] == "close":
                tally.ends[f"{event['code']} {event['reason']}" + (" stored" if stored else "")] += 1

    listening = asyncio.create_task(_listen())
    try:
        for index, message in enumerate(media):
            due = began + index * FRAME_S
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            else:
                tally.late_s = max(tally.late_s, -wait_s)
            writer.write(message)
        writer.write(frame_of(b'{"event":"stop"}'))
        await asyncio.wait_for(listening, 60)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        tally.ends[type(error).__name__] += 1
    finally:
        listening.cancel()
        writer.close()


async def idle(port: int, key: str, count: int, opened_all: asyncio.Event, until: asyncio.Event) -> None:
    """Hold connections that say hardly anything."""
    silence = _media(0, b"\xff" * 160)
    opened = []
    for index in range(count):
        opened.append(await connect(port, key, f"idle-{index}"))
        opened[-1][1].write(silence)
    listening = [asyncio.create_task(_drain(*one)) for one in opened]
    opened_all.set()
    await until.wait()
    for task in listening:
        task.cancel()
    for _, writer in opened:
        writer.close()


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for _ in events(reader, writer):
        pass


async def load(options: argparse.Namespace, port: int, key: str, pid: int) -> Tally:
    """Run the streams; print memory and processor time on the way."""
    tally, rng, opened_all, until = Tally(), random.Random(1), asyncio.Event(), asyncio.Event()
    before = rss_mb(pid)
    idlers = []
    if options.idle:
        idlers.append(asyncio.create_task(idle(port, key, options.idle, opened_all, until)))
        await opened_all.wait()
        await asyncio.sleep(5)
        held = rss_mb(pid)
        each_kb = (held - before) / options.idle * 1e3
        print(f"idle streams {options.idle}  RSS {before:.0f} -> {held:.0f} MB ({each_kb:.0f} kB each)")
    clips = [messages(clip, options.seconds) for clip in CLIPS]
    used, began = cpu_s(pid), time.perf_counter()
    await asyncio.gather(
        *(
            stream(port, key, f"load-{index}", clips[index % len(clips)], rng.uniform(0, options.ramp), tally)
            for index in range(options.streams)
        )
    )
    took_s = time.perf_counter() - began
    if options.streams:
        # Of a stream's time, not of the clock's: it holds on a machine that has other work, too.
        server, screening = 100 * (cpu_s(pid) - used) / (options.streams * options.seconds)
        print(
            f"CPU for a stream: {server:.2f} % of a core in the server, {screening:.2f} % in its screening processes  "
            f"RSS {rss_mb(pid):.0f} MB  client at most {tally.late_s * 1e3:.0f} ms late  took {took_s:.0f} s"
        )
    found = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=30, trust_env=False).text
    for what in ("look", "screening"):
        total, count = (
            float(re.search(rf"^voiceguard_{what}_seconds_{name} (\S+)$", found, re.MULTILINE)[1])
            for name in ("sum", "count")
        )
        print(f"{what}: {count:.0f}, on average {1e3 * total / max(count, 1):.0f} ms in its process")
    until.set()
    await asyncio.gather(*idlers)
    return tally


def serve(folder: Path, options: argparse.Namespace) -> tuple[subprocess.Popen[bytes], int, str]:
    """Start a server; return it, its port and a key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "VOICEGUARD_DATA_DIR": str(folder),
        "VOICEGUARD_LOG_LEVEL": "warning",
        "VOICEGUARD_STREAM_MAX": str(options.streams + options.idle + 10),
        "VOICEGUARD_STREAM_MAX_PER_KEY": str(options.streams + options.idle + 10),
        "VOICEGUARD_STREAM_IDLE_TIMEOUT_S": "600",
        "VOICEGUARD_SCREENING_WORKERS": str(options.workers),
        "OMP_NUM_THREADS": "1",
    }
    voiceguard = [sys.executable, "-m", "voiceguard"]
    created = [*voiceguard, "key", "create", "load", "--scope", "streams"]
    key = subprocess.run(created, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    server = subprocess.Popen([*voiceguard, "serve", "--port", str(port)], env=environment)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that main ends the server, too
    while server.poll() is None:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return server, port, key
    raise SystemExit("expected the server to start; see above")


def main() -> int:
    """Run the load and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--idle", type=int, default=0, help="more connections that say hardly anything")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each call")
    parser.add_argument("--ramp", type=float, default=20.0, help="seconds within which the calls begin")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--max-p99", type=float, default=1.0, help="seconds from the deciding audio to its verdict"
    )
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        server, port, key = serve(Path(folder), options)
        try:
            tally = asyncio.run(load(options, port, key, server.pid))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    print(f"ends {dict(tally.ends)}")
    if not options.streams:
        return 0
    for what, values in (("verdict", tally.latencies_s), ("look", tally.looks_s)):
        p50, p99 = np.percentile(values, [50, 99]) if values else (np.nan, np.nan)
        print(f"{what} after its audio: {len(values)}, p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms")
    if tally.decided_after_s:
        median_s, decided = np.median(tally.decided_after_s), len(tally.decided_after_s)
        print(f"speech until the verdict: median {median_s:.1f} s of {decided} calls")
    in_time = bool(tally.latencies_s) and np.percentile(tally.latencies_s, 99) <= options.max_p99
    good = tally.ends == {"1000 stop stored": options.streams} and in_time
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
