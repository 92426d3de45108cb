"""Recordings in every format that phone systems write, made here from two known tones."""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

LEFT_HZ, RIGHT_HZ = 440.0, 1000.0


@dataclass(frozen=True)
class Example:
    """A well-formed recording and what decoding must find in it.

    ``min_correlation`` is that of each channel with the tone that was encoded; None where the payload is
    arbitrary because no encoder exists.
    """

    name: str
    data: bytes
    container: str
    codec: str
    rate_hz: int
    channels: int
    duration_s: float
    min_correlation: float | None


def tones(rate_hz: int, duration_s: float, channels: int) -> NDArray[np.float32]:
    """Return one slowly beating tone a channel [shape=(n, channels), −0.5..0.5]."""
    time_s = np.arange(round(rate_hz * duration_s)) / rate_hz
    left = np.sin(2 * np.pi * LEFT_HZ * time_s) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * time_s))
    right = np.sin(2 * np.pi * RIGHT_HZ * time_s) * (0.6 + 0.4 * np.sin(2 * np.pi * 2.3 * time_s))
    return (0.5 * np.stack([left, right][:channels], axis=1)).astype(np.float32)


def by_soundfile(samples: NDArray[np.float32], rate_hz: int, **arguments: str) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate_hz, **arguments)
    return buffer.getvalue()


def by_ffmpeg(
    samples: NDArray[np.float32], rate_hz: int, *, muxer: str, encoder: str, bit_rate: int | None = None
) -> bytes:
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate_hz, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        whole = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        whole.sample_rate, whole.pts = rate_hz, 0
        fifo = av.AudioFifo()
        for frame in av.AudioResampler(stream.codec_context.format, layout, rate_hz).resample(whole):
            fifo.write(frame)
        while frame := fifo.read(stream.codec_context.frame_size or 1024, partial=True):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def wav(
    format_tag: int, payload: bytes, *, rate_hz: int, block_bytes: int, bits: int, extra: bytes = b""
) -> bytes:
    """Return a mono WAV file around an encoded payload."""
    fmt = struct.pack("<HHIIHH", format_tag, 1, rate_hz, rate_hz * bits // 8, block_bytes, bits) + extra
    chunks = (
        struct.pack("<4sI", b"fmt ", len(fmt)) + fmt + struct.pack("<4sI", b"data", len(payload)) + payload
    )
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


@functools.cache
def examples(duration_s: float = 2.0) -> tuple[Example, ...]:
    """Return one recording for each format, stereo where the format has it."""
    return (*_soundfile_examples(duration_s), *_ffmpeg_examples(duration_s), *_bitstream_examples(duration_s))


def _soundfile_examples(duration_s: float) -> list[Example]:
    rows = (
        # name, format, subtype, container, codec, rate_hz, channels, min_correlation
        ("pcm8.wav", "WAV", "PCM_U8", "wav", "pcm_u8", 8000, 2, 0.999),
        ("pcm16.wav", "WAV", "PCM_16", "wav", "pcm_s16le", 8000, 2, 0.9999),
        ("pcm16-extensible.wav", "WAVEX", "PCM_16", "wav", "pcm_s16le", 8000, 2, 0.9999),
        ("pcm16-rf64.wav", "RF64", "PCM_16", "wav", "pcm_s16le", 16000, 2, 0.9999),
        ("pcm16-44k1.wav", "WAV", "PCM_16", "wav", "pcm_s16le", 44100, 2, 0.999),
        ("pcm24.wav", "WAV", "PCM_24", "wav", "pcm_s24le", 48000, 2, 0.999),
        ("pcm32.wav", "WAV", "PCM_32", "wav", "pcm_s32le", 16000, 2, 0.999),
        ("float32.wav", "WAV", "FLOAT", "wav", "pcm_f32le", 16000, 2, 0.999),
        ("float64.wav", "WAV", "DOUBLE", "wav", "pcm_f64le", 8000, 2, 0.9999),
        ("ulaw.wav", "WAV", "ULAW", "wav", "g711_ulaw", 8000, 2, 0.999),
        ("alaw.wav", "WAV", "ALAW", "wav", "g711_alaw", 8000, 2, 0.999),
        ("wav49.WAV", "WAV", "GSM610", "wav", "gsm", 8000, 1, 0.98),
        ("ima.wav", "WAV", "IMA_ADPCM", "wav", "ima_adpcm", 8000, 2, 0.99),
        ("ms-adpcm.wav", "WAV", "MS_ADPCM", "wav", "ms_adpcm", 8000, 2, 0.97),
        ("g721.wav", "WAV", "G721_32", "wav", "g726", 8000, 1, 0.98),
        ("pcm16.w64", "W64", "PCM_16", "w64", "pcm_s16le", 8000, 2, 0.9999),
        ("call.flac", "FLAC", "PCM_16", "flac", "flac", 16000, 2, 0.999),
        ("call.ogg", "OGG", "VORBIS", "ogg", "vorbis", 16000, 2, 0.99),
        ("call.opus", "OGG", "OPUS", "ogg", "opus", 16000, 2, 0.98),
        ("call.aiff", "AIFF", "PCM_16", "aiff", "pcm_s16be", 8000, 2, 0.9999),
        ("call.au", "AU", "ULAW", "au", "g711_ulaw", 8000, 2, 0.999),
        ("pcm.caf", "CAF", "PCM_16", "caf", "pcm_s16be", 8000, 2, 0.9999),
        ("alac.caf", "CAF", "ALAC_16", "caf", "alac", 16000, 2, 0.999),
        ("call.gsm", "RAW", "GSM610", "raw", "gsm", 8000, 1, 0.98),
        ("call.ulaw", "RAW", "ULAW", "raw", "g711_ulaw", 8000, 1, 0.999),
        ("call.alaw", "RAW", "ALAW", "raw", "g711_alaw", 8000, 1, 0.999),
        ("call.sln", "RAW", "PCM_16", "raw", "pcm_s16le", 8000, 1, 0.9999),
        ("call.sln16", "RAW", "PCM_16", "raw", "pcm_s16le", 16000, 1, 0.999),
        ("call.sln48", "RAW", "PCM_16", "raw", "pcm_s16le", 48000, 1, 0.999),
    )
    return [
        Example(
            name,
            by_soundfile(tones(rate_hz, duration_s, channels), rate_hz, format=file_format, subtype=subtype),
            container,
            codec,
            rate_hz,
            channels,
            duration_s,
            min_correlation,
        )
        for name, file_format, subtype, container, codec, rate_hz, channels, min_correlation in rows
    ]


def _ffmpeg_examples(duration_s: float) -> list[Example]:
    rows = (
        # name, muxer, encoder, bit_rate, container, codec, rate_hz, channels, min_correlation
        ("call.mp3", "mp3", "libmp3lame", None, "mp3", "mp3", 16000, 2, 0.98),
        ("call.mp2", "mp2", "mp2", None, "mp3", "mp2", 16000, 2, 0.98),
        ("mp3.wav", "wav", "libmp3lame", None, "wav", "mp3", 8000, 1, 0.98),
        ("call.amr", "amr", "libopencore_amrnb", 12200, "amr", "amr_nb", 8000, 1, 0.9),
        ("call.3gp", "3gp", "libopencore_amrnb", 12200, "3gp", "amr_nb", 8000, 1, 0.9),
        ("call.m4a", "ipod", "aac", None, "m4a", "aac", 16000, 2, 0.98),
        ("call.mp4", "mp4", "aac", None, "mp4", "aac", 48000, 2, 0.98),
        ("call.aac", "adts", "aac", None, "aac", "aac", 16000, 2, 0.98),
        ("call.mov", "mov", "pcm_alaw", None, "mov", "g711_alaw", 8000, 2, 0.999),
        ("call.webm", "webm", "libopus", None, "webm", "opus", 48000, 2, 0.98),
        ("call.mka", "matroska", "libopus", None, "matroska", "opus", 48000, 2, 0.98),
        ("call.g722", "g722", "g722", None, "raw", "g722", 16000, 1, 0.98),
        ("g722.wav", "wav", "g722", None, "wav", "g722", 16000, 1, 0.98),
        ("g726-16.wav", "wav", "g726", 16000, "wav", "g726", 8000, 1, 0.8),
        ("g726-24.wav", "wav", "g726", 24000, "wav", "g726", 8000, 1, 0.95),
        ("g726-32.wav", "wav", "g726", 32000, "wav", "g726", 8000, 1, 0.98),
        ("g726-40.wav", "wav", "g726", 40000, "wav", "g726", 8000, 1, 0.98),
        ("call.g726-32", "g726", "g726", 32000, "raw", "g726", 8000, 1, 0.98),
        ("g723.wav", "wav", "g723_1", 6300, "wav", "g723_1", 8000, 1, 0.8),
    )
    return [
        Example(
            name,
            by_ffmpeg(
                tones(rate_hz, duration_s, channels), rate_hz, muxer=muxer, encoder=encoder, bit_rate=bit_rate
            ),
            container,
            codec,
            rate_hz,
            channels,
            duration_s,
            min_correlation,
        )
        for name, muxer, encoder, bit_rate, container, codec, rate_hz, channels, min_correlation in rows
    ]


def amr_frames(frame_type: int, payload_bytes: int, count: int) -> bytes:
    """Return AMR storage frames (RFC 4867, section 5.3) of one type, good quality, arbitrary payload."""
    payload = np.random.default_rng(frame_type).integers(0, 256, (count, payload_bytes), np.uint8)
    header = np.full((count, 1), frame_type << 3 | 4, np.uint8)
    return np.concatenate([header, payload], axis=1).tobytes()


@functools.cache
def _ogg_crc_table() -> list[int]:
    table = []
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return table


def ogg_page(flags: int, position: int, number: int, packets: list[bytes]) -> bytes:
    """Return one Ogg page (RFC 3533, section 6) of packets shorter than 255 bytes."""
    page = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, 1, number, 0)
    page += bytes([len(packets), *(len(packet) for packet in packets)]) + b"".join(packets)
    crc, table = 0, _ogg_crc_table()
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return page[:22] + struct.pack("<I", crc) + page[26:]


def _bitstream_examples(duration_s: float) -> list[Example]:
    """Formats without an encoder: valid framing around an arbitrary payload."""
    count = round(duration_s / 0.02)
    g729 = np.random.default_rng(729).integers(0, 256, round(duration_s * 1000), np.uint8).tobytes()
    amr_wb = b"#!AMR-WB\n" + amr_frames(2, 32, count)
    amr_dtx = b"#!AMR\n" + (amr_frames(7, 31, 5) + amr_frames(8, 5, 1) + amr_frames(15, 0, 4)) * (count // 10)
    speex_head = (
        b"Speex   "
        + b"1.2".ljust(20, b"\0")
        + struct.pack("<13i", 1, 80, 8000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    )
    random = np.random.default_rng(8000)
    speex_packets = [bytes([3 << 3]) + random.bytes(19) for _ in range(count)]  # narrowband at 8 kbit/s
    speex = (
        ogg_page(2, 0, 0, [speex_head])
        + ogg_page(0, 0, 1, [bytes(8)])
        + ogg_page(4, 160 * count, 2, speex_packets)
    )
    ilbc = b"#!iLBC20\n" + random.bytes(38 * count)
    amr_wav = wav(0x57, amr_frames(7, 31, count), rate_hz=8000, block_bytes=32, bits=16)
    return [
        Example("speex.ogg", speex, "ogg", "speex", 8000, 1, duration_s, None),
        Example("call.ilbc", ilbc, "ilbc", "ilbc", 8000, 1, duration_s, None),
        Example("amr.wav", amr_wav, "wav", "amr_nb", 8000, 1, duration_s, None),
        Example("call.g729", g729, "raw", "g729", 8000, 1, duration_s, None),
        Example(
            "g729.wav",
            wav(0x83, g729, rate_hz=8000, block_bytes=10, bits=1),
            "wav", "g729", 8000, 1, duration_s, None,
        ),
        Example("call.awb", amr_wb, "amr", "amr_wb", 16000, 1, duration_s, None),
        Example("dtx.amr", amr_dtx, "amr", "amr_nb", 8000, 1, duration_s, None),
    ]  # fmt: skip
