"""What a telephone codec does to speech: encode and decode again, with the real codecs.

Each function takes and gives 8 kHz mono speech. PyAV and soundfile bring the codecs; G.711 is a table.
Codec delay is kept: it is a few milliseconds, and no cue depends on it.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import cast

import numpy as np
import soundfile
import soxr

from voiceguard.audio import RATE_HZ

AMR_NB_BIT_RATES = (4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200)
G726_BIT_RATES = (24000, 32000, 40000)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round float samples in -1..1, shape (n,), to int16; what exceeds full scale is clipped."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Scale int16 samples, shape (n,), to float32 in -1..1."""
    return samples.astype(np.float32) / np.float32(32768.0)


def g711_ulaw(samples: np.ndarray) -> np.ndarray:
    """Pass through G.711 µ-law (ITU-T G.711)."""
    return _g711_table("ulaw")[to_int16(samples).astype(np.int32) + 32768]


def g711_alaw(samples: np.ndarray) -> np.ndarray:
    """Pass through G.711 A-law (ITU-T G.711)."""
    return _g711_table("alaw")[to_int16(samples).astype(np.int32) + 32768]


def gsm_full_rate(samples: np.ndarray) -> np.ndarray:
    """Pass through GSM 06.10 full rate, 13 kbit/s."""
    return _through_file(samples, "WAV", "GSM610")


def g726(samples: np.ndarray, bit_rate: int = 32000) -> np.ndarray:
    """Pass through G.726 ADPCM at 24, 32 or 40 kbit/s (libsndfile names them G.723 and G.721)."""
    subtype = {24000: "G723_24", 32000: "G721_32", 40000: "G723_40"}[bit_rate]
    return _through_file(samples, "AU", subtype)


def amr_nb(samples: np.ndarray, bit_rate: int = 12200) -> np.ndarray:
    """Pass through AMR narrowband at one of its eight rates."""
    return _through_av(samples, "libopencore_amrnb", "amrnb", RATE_HZ, bit_rate, "s16")


def g722(samples: np.ndarray) -> np.ndarray:
    """Pass through G.722 at 64 kbit/s; the codec itself runs at 16 kHz."""
    wideband = soxr.resample(samples, RATE_HZ, 16000).astype(np.float32)
    return _fit(
        soxr.resample(_through_av(wideband, "g722", "g722", 16000, None, "s16"), 16000, RATE_HZ), samples
    )


def opus(samples: np.ndarray, bit_rate: int = 16000) -> np.ndarray:
    """Pass through Opus in its narrowband mode for speech."""
    decoded = _through_av(samples, "libopus", "libopus", RATE_HZ, bit_rate, "s16", {"application": "voip"})
    return _fit(soxr.resample(decoded, 48000, RATE_HZ), samples)


def mp3(samples: np.ndarray, bit_rate: int = 24000) -> np.ndarray:
    """Pass through MP3 (MPEG-2.5 layer III at 8 kHz), as call recorders store it."""
    return _through_av(samples, "libmp3lame", "mp3float", RATE_HZ, bit_rate, "s16p")


CODECS: dict[str, Callable[..., np.ndarray]] = {
    "g711_ulaw": g711_ulaw,
    "g711_alaw": g711_alaw,
    "gsm": gsm_full_rate,
    "g726": g726,
    "amr_nb": amr_nb,
    "g722": g722,
    "opus": opus,
    "mp3": mp3,
}


@functools.cache
def _g711_table(law: str) -> np.ndarray:
    """Tabulate what each int16 value decodes to after a pass, shape (65536,), float32."""
    values = from_int16(np.arange(-32768, 32768).astype(np.int16))
    subtype = {"ulaw": "ULAW", "alaw": "ALAW"}[law]
    return _through_file(values, "WAV", subtype)


def _through_file(samples: np.ndarray, container: str, subtype: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, to_int16(samples), RATE_HZ, format=container, subtype=subtype)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _fit(decoded, samples)


def _through_av(
    samples: np.ndarray,
    encoder: str,
    decoder: str,
    rate_hz: int,
    bit_rate: int | None,
    sample_format: str,
    options: dict[str, str] | None = None,
) -> np.ndarray:
    """Encode and decode packet by packet; the result has the decoder's rate (Opus: 48 kHz)."""
    import av

    encode = cast("av.AudioCodecContext", av.CodecContext.create(encoder, "w"))
    encode.sample_rate, encode.layout, encode.format = rate_hz, "mono", sample_format
    encode.options = options or {}
    if bit_rate:
        encode.bit_rate = bit_rate
    encode.open()
    decode = cast("av.AudioCodecContext", av.CodecContext.create(decoder, "r"))
    decode.sample_rate, decode.layout = rate_hz, "mono"
    if encode.extradata:
        decode.extradata = encode.extradata
    frame_samples = encode.frame_size or 320
    pcm = to_int16(samples)
    pcm = np.pad(pcm, (0, -len(pcm) % frame_samples))
    decoded: list[np.ndarray] = []

    def collect(packets: list[av.Packet]) -> None:
        for packet in packets:
            decoded.extend(frame.to_ndarray().reshape(-1) for frame in decode.decode(packet))

    for start in range(0, len(pcm), frame_samples):
        frame = av.AudioFrame.from_ndarray(
            pcm[None, start : start + frame_samples], format=sample_format, layout="mono"
        )
        frame.sample_rate, frame.pts = rate_hz, start
        collect(encode.encode(frame))
    collect(encode.encode(None))
    decoded.extend(frame.to_ndarray().reshape(-1) for frame in decode.decode(None))
    joined = np.concatenate(decoded)
    joined = from_int16(joined) if joined.dtype == np.int16 else joined.astype(np.float32)
    return joined if decoder == "libopus" else _fit(joined, samples)


def _fit(decoded: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Cut or zero-pad to the length of ``like``; codecs round up to whole frames."""
    decoded = decoded[: len(like)].astype(np.float32, copy=False)
    return np.pad(decoded, (0, len(like) - len(decoded)))
