"""Decoding by libsndfile: PCM, G.711, GSM, ADPCM, FLAC, Ogg Vorbis and Opus."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from voiceguard.audio.sniff import Raw
from voiceguard.audio.stream import Stream, blame_recording

_BLOCK_SAMPLES = 1 << 18

_CODECS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "g711_ulaw",
    "ALAW": "g711_alaw",
    "GSM610": "gsm",
    "IMA_ADPCM": "ima_adpcm",
    "MS_ADPCM": "ms_adpcm",
    "G721_32": "g726",  # ITU-T G.721 lives on as G.726 at 32 kbit/s
    "G723_24": "g726",
    "G723_40": "g726",
    "VORBIS": "vorbis",
    "OPUS": "opus",
    "ALAC_16": "alac",
    "ALAC_20": "alac",
    "ALAC_24": "alac",
    "ALAC_32": "alac",
}

_UNKNOWN_FRAMES = 1 << 62
"""libsndfile's frame count from here on means that the header doesn't say."""


class _Memory(io.BytesIO):
    """Bytes that refuse a senseless seek silently.

    cffi prints what a callback raises on stderr, and libsndfile seeks wherever a damaged header sends it.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with contextlib.suppress(ValueError, OverflowError):
            return super().seek(offset, whence)
        return self.tell()


@contextlib.contextmanager
def open_libsndfile(data: bytes, raw: Raw | None = None) -> Iterator[Stream]:
    """Open `data`, a format that libsndfile knows by its header or headerless as `raw` says.

    Raises
    ------
    DamagedRecording
        If libsndfile can't read it; also while the blocks are drained.
    """
    import soundfile as sf

    arguments: dict[str, Any] = {}
    if raw is not None:
        arguments = {"format": "RAW", "subtype": raw.subtype, "samplerate": raw.rate_hz, "channels": 1}
        if raw.subtype == "PCM_16":
            arguments["endian"] = "LITTLE"
    with blame_recording("a header that libsndfile can read"):
        file = sf.SoundFile(_Memory(data), **arguments)
    with file:
        yield Stream(
            codec=_codec(file),
            rate_hz=file.samplerate,
            channels=file.channels,
            decoder=f"soundfile {sf.__version__} / libsndfile {sf.__libsndfile_version__}",
            blocks=_blocks(file),
            declared_frames=file.frames if 0 <= file.frames < _UNKNOWN_FRAMES else None,
        )


def _blocks(file: Any) -> Iterator[np.ndarray]:
    size = max(1, _BLOCK_SAMPLES // file.channels)
    while True:
        with blame_recording("decodable audio after the header"):
            block = file.read(size, dtype="float32", always_2d=True)
        if not len(block):
            return
        yield block


def _codec(file: Any) -> str:
    if file.format == "FLAC" or (file.format == "OGG" and file.subtype.startswith("PCM")):
        return "flac"
    codec = _CODECS.get(file.subtype, file.subtype.lower())
    if codec.startswith("pcm_") and codec[-2:] in ("16", "24", "32", "64"):
        big = file.endian == "BIG" or (file.endian == "FILE" and file.format in ("AIFF", "AU", "CAF"))
        codec += "be" if big else "le"
    return codec
