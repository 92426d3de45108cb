"""Malformed recordings: mutations of every format, the same for the same seed.

Run as ``python -m tests.audio.malformed SEED COUNT`` it decodes them all and prints one line of JSON: how many
decoded, which errors came, the slowest file, the highest memory. It fails on anything but a Recording or an
AudioError, and keeps the culprit's bytes in ``malformed-SEED-NUMBER-NAME`` where the folder of the third
argument says.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.audio.encode import examples
from voiceguard.audio import decode
from voiceguard.errors import AudioError

_Mutation = Callable[[np.random.Generator, bytearray], bytes]

_SUFFIXES = (
    ".wav",
    ".mp3",
    ".ulaw",
    ".alaw",
    ".gsm",
    ".sln16",
    ".g722",
    ".g729",
    ".g726-24",
    ".amr",
    ".txt",
    "",
)
_WORDS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_TEXTS = (
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    b"ffconcat version 1.0\nfile 'http://127.0.0.1:9/a.wav'\n",
    b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=audio 9 RTP/AVP 0\r\n",
    b"Dear sir or madam,\nthe recording is attached.\n",
    b'{"audio": null}',
    b"PK\x03\x04" + bytes(200),
    b"\x89PNG\r\n\x1a\n" + bytes(200),
    b"\x7fELF\x02\x01\x01" + bytes(200),
    b"",
    b"\x00",
    b"RIFF",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
    b"\x1aE\xdf\xa3",
    b"OggS",
    b"fLaC",
)


def malformed_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` malformed recordings as (file name, bytes)."""
    rng = np.random.default_rng(seed)
    originals = examples(0.5)
    for _ in range(count):
        example = originals[rng.integers(len(originals))]
        mutated = example.data
        for _ in range(int(rng.integers(1, 4))):
            mutated = _MUTATIONS[rng.integers(len(_MUTATIONS))](rng, bytearray(mutated))
        name = example.name
        if rng.random() < 0.1:
            name = Path(name).stem + _SUFFIXES[rng.integers(len(_SUFFIXES))]
        if rng.random() < 0.03:
            mutated = _TEXTS[rng.integers(len(_TEXTS))]
        yield name, mutated


def _position(rng: np.random.Generator, data: bytearray) -> int:
    """Return a place in the file: in the header as often as in all the rest."""
    return int(rng.integers(min(len(data), 256) if rng.random() < 0.5 else len(data))) if data else 0


def _flip_bits(rng: np.random.Generator, data: bytearray) -> bytes:
    for _ in range(int(2 ** rng.uniform(0, 8))):
        if data:
            data[_position(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _truncate(rng: np.random.Generator, data: bytearray) -> bytes:
    return bytes(data[: _position(rng, data)])


def _lie_in_a_word(rng: np.random.Generator, data: bytearray) -> bytes:
    """Overwrite a length, rate or count by an extreme: 2 or 4 bytes, either byte order."""
    value = int(rng.choice(_WORDS)) if rng.random() < 0.8 else int(rng.integers(1 << 32))
    size = int(rng.choice([2, 4]))
    start = _position(rng, data) & ~1
    word = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if rng.random() < 0.6 else "big")
    data[start : start + size] = word
    return bytes(data)


def _zero(rng: np.random.Generator, data: bytearray) -> bytes:
    start, length = _position(rng, data), int(2 ** rng.uniform(0, 12))
    data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


def _garbage_inside(rng: np.random.Generator, data: bytearray) -> bytes:
    start = _position(rng, data)
    data[start:start] = rng.bytes(int(2 ** rng.uniform(0, 12)))
    return bytes(data)


def _garbage_instead(rng: np.random.Generator, data: bytearray) -> bytes:
    """Keep the header, replace the rest."""
    kept = int(rng.integers(4, 128))
    return bytes(data[:kept]) + rng.bytes(max(0, len(data) - kept))


def _drop(rng: np.random.Generator, data: bytearray) -> bytes:
    start = _position(rng, data)
    del data[start : start + int(2 ** rng.uniform(0, 10))]
    return bytes(data)


def _repeat(rng: np.random.Generator, data: bytearray) -> bytes:
    start = _position(rng, data)
    piece = data[start : start + int(2 ** rng.uniform(2, 12))]
    data[start:start] = piece * int(rng.integers(1, 20))
    return bytes(data)


def _splice(rng: np.random.Generator, data: bytearray) -> bytes:
    """Join the start of one format to the end of another."""
    originals = examples(0.5)
    other = originals[rng.integers(len(originals))].data
    return bytes(data[: _position(rng, data)]) + other[int(rng.integers(len(other))) :]


def _swap_container(rng: np.random.Generator, data: bytearray) -> bytes:
    """Put the magic bytes of another format on this one's content."""
    originals = examples(0.5)
    other = originals[rng.integers(len(originals))].data
    size = int(rng.choice([4, 8, 12, 16, 44]))
    return other[:size] + bytes(data[size:])


def _chunk_size(rng: np.random.Generator, data: bytearray) -> bytes:
    """Change the length of one of the named chunks or boxes."""
    names = (
        b"fmt ",
        b"data",
        b"fact",
        b"COMM",
        b"SSND",
        b"desc",
        b"pakt",
        b"moov",
        b"stsz",
        b"stco",
        b"stsc",
    )
    found = [data.find(name) for name in names if data.find(name) >= 4]
    if not found:
        return _lie_in_a_word(rng, data)
    start = found[rng.integers(len(found))] + (4 if rng.random() < 0.5 else -4)
    data[start : start + 4] = int(rng.choice(_WORDS)).to_bytes(4, "little" if rng.random() < 0.5 else "big")
    return bytes(data)


_MUTATIONS: tuple[_Mutation, ...] = (
    _flip_bits,
    _flip_bits,
    _truncate,
    _lie_in_a_word,
    _lie_in_a_word,
    _zero,
    _garbage_inside,
    _garbage_instead,
    _drop,
    _repeat,
    _splice,
    _swap_container,
    _chunk_size,
)


def main(seed: int, count: int, keep: Path | None) -> None:
    faulthandler.enable()
    outcomes: Counter[str] = Counter()
    slowest_s, slowest = 0.0, ""
    for number, (name, data) in enumerate(malformed_files(seed, count)):
        if keep:
            culprit = keep / f"malformed-{seed}-{number}-{name}"
            culprit.write_bytes(data)
        start_s = time.perf_counter()
        try:
            recording = decode(data, name=name)
            assert recording.channels
            assert all(np.isfinite(samples).all() for samples in recording.channels)
            outcomes["decoded"] += 1
        except AudioError as error:
            outcomes[error.code] += 1
        elapsed_s = time.perf_counter() - start_s
        if elapsed_s > slowest_s:
            slowest_s, slowest = elapsed_s, f"{number} {name}"
        if keep:
            culprit.unlink()
    peak_mib = _peak_mib()
    report = {"outcomes": outcomes, "slowest_s": slowest_s, "slowest": slowest, "peak_mib": peak_mib}
    print(json.dumps(report))


def _peak_mib() -> float:
    """Peak memory of this program; Linux's ru_maxrss also remembers the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
