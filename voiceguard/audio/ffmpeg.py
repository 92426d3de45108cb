"""Decoding by FFmpeg (PyAV), fenced in: one named demuxer, named decoders, no I/O but from memory."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from voiceguard.audio.frames import amr_frames
from voiceguard.audio.stream import Stream, blame_recording, reason
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

    with blame_recording(f"audio that FFmpeg's {demuxer} demuxer can read"):
        container: Any = av.open(
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
    with container:
        stream = _only_audio_stream(container)
        notes: list[str] = []
        frames = _frames(container.demux(stream), _decoder(stream), notes)
        # What the first frame says is true; the header may not know the rate (HE-AAC) or the channels.
        first = next(frames, None)
        if first is None:
            raise EmptyRecording("Expected audio after the header, but not one sample could be decoded.")
        versions = ".".join(str(part) for part in av.library_versions["libavcodec"])
        yield Stream(
            codec=_CODECS[stream.codec_context.name],
            rate_hz=first.sample_rate,
            channels=first.layout.nb_channels,
            decoder=f"PyAV {av.__version__} / libavcodec {versions}",
            blocks=_blocks(itertools.chain([first], frames)),
            declared_frames=amr_frames(data) if demuxer == "amr" else None,
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


def _decoder(stream: Any) -> Any:
    """Return the decoder for a stream, on one thread."""
    import av

    decoder: Any = stream.codec_context
    if decoder.name in _BETTER_DECODERS:
        decoder = av.CodecContext.create(_BETTER_DECODERS[decoder.name], "r")
        decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, "mono"
    decoder.thread_count = 1
    return decoder


def _frames(packets: Iterator[Any], decoder: Any, notes: list[str]) -> Iterator[Any]:
    """Decode packet by packet; skip what can't be decoded, but not if that is most of the recording."""
    good = bad = 0
    error_text = ""
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (AudioError, MemoryError):
            raise
        except Exception as error:
            notes.append(f"The file could not be read to its end: {reason(error)}.")
            break
        if packet.size > _MAX_PACKET_BYTES:
            raise DamagedRecording(
                f"Expected packets below {_MAX_PACKET_BYTES} bytes, but one has {packet.size}."
            )
        try:
            frames = decoder.decode(packet)
        except MemoryError:
            raise
        except Exception as error:
            bad += 1
            error_text = reason(error)
            continue
        good += bool(packet.size)
        yield from frames
    if bad > good:
        raise DamagedRecording(
            f"Expected decodable audio, but {bad} of {good + bad} packets can't be decoded: {error_text}."
        )
    if not good:
        raise EmptyRecording("Expected audio after the header, but the file holds no packets.")
    if bad:
        notes.append(f"{bad} of {good + bad} packets could not be decoded and were skipped.")


def _blocks(frames: Iterator[Any]) -> Iterator[np.ndarray]:
    """Join FFmpeg's frames, some 20 ms each, into blocks."""
    pending: list[np.ndarray] = []
    pending_frames = 0
    form: tuple[str, int, int] | None = None
    for frame in frames:
        came = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if form is None:
            form, planar = came, frame.format.is_planar
        if came != form:
            raise DamagedRecording(
                "Expected one sample format, channel count and rate throughout, "
                f"but after {form} came {came}."
            )
        pending.append(frame.to_ndarray())
        pending_frames += frame.samples
        if pending_frames >= _BLOCK_FRAMES:
            yield _float_samples(pending, planar, form[1])
            pending, pending_frames = [], 0
    if pending:
        assert form is not None
        yield _float_samples(pending, planar, form[1])


def _float_samples(pending: list[np.ndarray], planar: bool, channels: int) -> np.ndarray:
    """Return PyAV's arrays, joined [shape=(n, channels), float32], full scale at ±1."""
    joined = np.concatenate(pending, axis=1)
    samples = joined.T if planar else joined.reshape(-1, channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(-1.0 / np.iinfo(samples.dtype).min)
    return samples.astype(np.float32, copy=False)
