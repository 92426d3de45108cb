"""Decoding by FFmpeg (PyAV), fenced in: one named demuxer, named decoders, no I/O but from memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from voiceguard.audio.stream import Stream
from voiceguard.errors import (
    AudioError,
    DamagedRecording,
    EmptyRecording,
    RefusedContainer,
    UnsupportedFormat,
)

_BLOCK_FRAMES = 1 << 16
_MAX_PACKET_BYTES = 8 << 20
_MAX_STREAMS = 16

_CODECS = {
    "aac": "aac",
    "adpcm_g722": "g722",
    "g722": "g722",
    "adpcm_g726": "g726",
    "g726": "g726",
    "g726le": "g726",
    "adpcm_ima_qt": "ima_adpcm",
    "adpcm_ima_wav": "ima_adpcm",
    "adpcm_ms": "ms_adpcm",
    "alac": "alac",
    "amrnb": "amr_nb",
    "amrwb": "amr_wb",
    "flac": "flac",
    "g723_1": "g723_1",
    "g729": "g729",
    "gsm": "gsm",
    "gsm_ms": "gsm",
    "ilbc": "ilbc",
    "libopus": "opus",
    "mp1": "mp1",
    "mp1float": "mp1",
    "mp2": "mp2",
    "mp2float": "mp2",
    "mp3": "mp3",
    "mp3float": "mp3",
    "opus": "opus",
    "pcm_alaw": "g711_alaw",
    "pcm_f32be": "pcm_f32be",
    "pcm_f32le": "pcm_f32le",
    "pcm_f64be": "pcm_f64be",
    "pcm_f64le": "pcm_f64le",
    "pcm_mulaw": "g711_ulaw",
    "pcm_s16be": "pcm_s16be",
    "pcm_s16le": "pcm_s16le",
    "pcm_s24be": "pcm_s24be",
    "pcm_s24le": "pcm_s24le",
    "pcm_s32be": "pcm_s32be",
    "pcm_s32le": "pcm_s32le",
    "pcm_s8": "pcm_s8",
    "pcm_u8": "pcm_u8",
    "speex": "speex",
    "truespeech": "truespeech",
    "vorbis": "vorbis",
}
"""FFmpeg's decoders that may run, and the names that a Recording gives their codecs."""

# FFmpeg's own AMR decoders can't read comfort-noise frames, and phones send them in every pause.
_BETTER_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}


@contextlib.contextmanager
def open_ffmpeg(data: bytes, demuxer: str, options: dict[str, str]) -> Iterator[Stream]:
    """Open `data` with FFmpeg's `demuxer` and no other.

    Raises
    ------
    RefusedContainer
        If the file makes FFmpeg ask for another file or address.
    UnsupportedFormat
        If it holds no audio, several audio streams, or a codec that isn't allowed.
    DamagedRecording
        If FFmpeg can't read it; also while the blocks are drained.
    """
    import av

    try:
        container = av.open(
            io.BytesIO(data),
            format=demuxer,
            options={
                **options,
                "format_whitelist": demuxer,
                "codec_whitelist": ",".join(_CODECS),
                "protocol_whitelist": "none",
                "max_streams": str(_MAX_STREAMS),
            },
            metadata_errors="replace",
            io_open=_refuse,
        )
    except AudioError:
        raise
    except (av.FFmpegError, ValueError, RuntimeError, OSError) as error:
        raise DamagedRecording(
            f"Expected a header that FFmpeg's {demuxer} demuxer can read: {error}"
        ) from error
    with container:
        stream = _only_audio_stream(container)
        decoder: Any = stream.codec_context
        name = decoder.name
        if name in _BETTER_DECODERS:
            decoder = av.CodecContext.create(_BETTER_DECODERS[name], "r")
            decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, "mono"
        decoder.thread_count = 1
        notes: list[str] = []
        versions = ".".join(str(part) for part in av.library_versions["libavcodec"])
        yield Stream(
            codec=_CODECS[name],
            rate_hz=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            decoder=f"PyAV {av.__version__} / libavcodec {versions}",
            blocks=_blocks(container, stream, decoder, notes),
            notes=notes,
        )


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise RefusedContainer(f"Expected a self-contained audio file, but this one asks for {url[:80]!r}.")


def _only_audio_stream(container: Any) -> Any:
    streams = container.streams.audio
    if len(streams) != 1:
        raise UnsupportedFormat(
            f"Expected a file with one audio stream, but this one has {len(streams)}."
            + (" Send each as a recording of its own." if streams else "")
        )
    decoder = streams[0].codec_context
    if decoder is None or decoder.name not in _CODECS:
        what = "an unknown codec" if decoder is None else decoder.name
        raise UnsupportedFormat(
            f"Expected a speech or music codec from docs/formats.md, but the file has {what}."
        )
    return streams[0]


def _blocks(container: Any, stream: Any, decoder: Any, notes: list[str]) -> Iterator[np.ndarray]:
    """Join FFmpeg's frames, some 20 ms each, into blocks."""
    pending: list[np.ndarray] = []
    pending_frames = 0
    for samples in _frames(container, stream, decoder, notes):
        if pending and samples.shape[1] != pending[0].shape[1]:
            raise DamagedRecording(
                f"Expected {pending[0].shape[1]} channels throughout, but {samples.shape[1]} came midway."
            )
        pending.append(samples)
        pending_frames += len(samples)
        if pending_frames >= _BLOCK_FRAMES:
            yield np.concatenate(pending)
            pending, pending_frames = [], 0
    if pending:
        yield np.concatenate(pending)


def _frames(container: Any, stream: Any, decoder: Any, notes: list[str]) -> Iterator[np.ndarray]:
    """Decode packet by packet; skip what can't be decoded, but not if that is most of the recording."""
    import av

    packets = container.demux(stream)
    good = bad = 0
    rate_hz = stream.codec_context.sample_rate
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except AudioError:
            raise
        except (av.FFmpegError, ValueError, RuntimeError, OSError) as error:
            notes.append(f"The file could not be read to its end: {_reason(error)}.")
            break
        if packet.size > _MAX_PACKET_BYTES:
            raise DamagedRecording(
                f"Expected packets below {_MAX_PACKET_BYTES} bytes, but one has {packet.size}."
            )
        try:
            frames = decoder.decode(packet)
        except (av.FFmpegError, ValueError, RuntimeError) as error:
            bad += 1
            last = error
            continue
        good += bool(packet.size)
        for frame in frames:
            if frame.sample_rate != rate_hz:
                raise DamagedRecording(
                    f"Expected {rate_hz} Hz throughout, but {frame.sample_rate} Hz came midway."
                )
            yield _float_samples(frame)
    if bad > good:
        raise DamagedRecording(
            f"Expected decodable audio, but {bad} of {good + bad} packets can't be decoded: {_reason(last)}."
        )
    if not good:
        raise EmptyRecording("Expected audio after the header, but the file holds no packets.")
    if bad:
        notes.append(f"{bad} of {good + bad} packets could not be decoded and were skipped.")


def _float_samples(frame: Any) -> np.ndarray:
    """Return one frame's samples [shape=(n, channels), float32], full scale at ±1."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / np.float32(128.0)
    if samples.dtype.kind == "i":
        scale = np.float32(-1.0 / np.iinfo(samples.dtype).min)
        return samples.astype(np.float32) * scale
    return samples.astype(np.float32)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
