"""The way from bytes to a Recording."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from voiceguard.audio.collect import Collector
from voiceguard.audio.ffmpeg import open_ffmpeg
from voiceguard.audio.libsndfile import open_libsndfile
from voiceguard.audio.recording import Limits, Recording
from voiceguard.audio.rtp import open_capture
from voiceguard.audio.sniff import Container, Raw, sniff
from voiceguard.audio.stream import Stream
from voiceguard.audio.wav import LIBSNDFILE_TAGS, read_wav
from voiceguard.errors import AudioError, DamagedRecording, EmptyRecording, RecordingTooLarge

_Opener = Callable[[], AbstractContextManager[Stream]]


def decode(source: Path | bytes, *, name: str | None = None, limits: Limits = Limits()) -> Recording:
    """Decode a recording, whatever a phone system wrote it as.

    Parameters
    ----------
    source : Path or bytes
        A file, or its content.
    name : str or None
        The file's name as its sender gave it (default: the path's). It decides between headerless formats
        (``call.ulaw``, ``call.g729``), and never against what the content says.
    limits : Limits
        Caps on bytes, seconds, channels and memory.

    Returns
    -------
    Recording
        The same for the same bytes, whatever the machine's load or threads.

    Raises
    ------
    AudioError
        Always one of its subtypes where the recording is at fault; the message says what was expected and
        what came.
    """
    if isinstance(source, Path):
        name = source.name if name is None else name
        data = _read(source, limits)
    else:
        data = source
    if len(data) > limits.max_bytes:
        raise RecordingTooLarge(f"Expected at most {limits.max_bytes} bytes, but got {len(data)}.")
    if not data:
        raise EmptyRecording("Expected an audio file, but it holds no bytes.")
    try:
        container = sniff(data, name)
        return _decode_by_first(data, container, limits)
    except MemoryError as error:
        raise RecordingTooLarge("Expected a recording that fits in this machine's memory.") from error


def _read(path: Path, limits: Limits) -> bytes:
    """Read a regular file, at most one byte past the limit."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"Expected a regular file, but {path.name} is a folder, a pipe or a device.")
        if status.st_size > limits.max_bytes:
            raise RecordingTooLarge(f"Expected at most {limits.max_bytes} bytes, but got {status.st_size}.")
        with path.open("rb") as file:
            return file.read(status.st_size + 1)
    except OSError as error:
        raise AudioError(f"Expected a readable file, but {path.name}: {error.strerror or error}.") from error


def _readers(data: bytes, container: Container, limits: Limits) -> tuple[list[_Opener], tuple[str, ...]]:
    """Return the readers to try, in order, and notes on what was wrong with the file."""
    if container.raw is not None:
        return _raw_reader(data, container, container.raw)
    if container.packets:
        return [lambda: open_capture(data)], ()
    notes: tuple[str, ...] = ()
    libsndfile = container.libsndfile
    if container.name == "wav":
        wav = read_wav(data, limits)
        data, notes, libsndfile = wav.rebuilt, wav.notes, wav.format_tag in LIBSNDFILE_TAGS
    readers: list[_Opener] = []
    if libsndfile:
        readers.append(lambda: open_libsndfile(data))
    if container.demuxer is not None:
        demuxer = container.demuxer
        readers.append(lambda: open_ffmpeg(data, demuxer, container.demuxer_options))
    return readers, notes


def _raw_reader(data: bytes, container: Container, raw: Raw) -> tuple[list[_Opener], tuple[str, ...]]:
    """Return the reader of a headerless format, and a note if the last frame is cut off."""
    rest = len(data) % raw.frame_bytes
    whole = data[: len(data) - rest] if rest else data
    if not whole:
        raise EmptyRecording(
            f"Expected frames of {raw.frame_bytes} bytes ({raw.codec}), but the file has {len(data)} bytes."
        )
    notes = (f"The last {rest} bytes are no whole frame and were left out.",) if rest else ()
    if raw.subtype is not None:
        return [lambda: open_libsndfile(whole, raw)], notes
    assert container.demuxer is not None
    demuxer = container.demuxer
    return [lambda: open_ffmpeg(whole, demuxer, container.demuxer_options)], notes


def _decode_by_first(data: bytes, container: Container, limits: Limits) -> Recording:
    """Decode by the first reader that can; the last one's error stands for all."""
    readers, notes = _readers(data, container, limits)
    for reader in readers[:-1]:
        try:
            return _drain(data, container, limits, reader, notes)
        except (DamagedRecording, EmptyRecording) as error:
            notes = (*notes, f"A second decoder was needed: {error}")
    return _drain(data, container, limits, readers[-1], notes)


def _drain(
    data: bytes, container: Container, limits: Limits, reader: _Opener, notes: tuple[str, ...]
) -> Recording:
    with reader() as stream:
        collector = Collector(stream.rate_hz, stream.channels, limits, stream.declared_frames)
        for block in stream.blocks:
            collector.add(block)
        if not collector.frames:
            raise EmptyRecording("Expected audio after the header, but not one sample could be decoded.")
        channels, clipped_share = collector.finish()
        missing = (stream.declared_frames or 0) - collector.frames
        if missing > 0:
            stream.notes.append(
                f"The file announces {stream.declared_frames} frames; {collector.frames} could be decoded."
            )
        return Recording(
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            container=container.name,
            codec=stream.codec,
            rate_hz=stream.rate_hz,
            duration_s=collector.duration_s,
            channels=channels,
            clipped_share=clipped_share,
            decoder=stream.decoder,
            notes=(*notes, *stream.notes),
        )
