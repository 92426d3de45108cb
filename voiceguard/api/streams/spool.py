"""What was received of a stream: a temporary file a track, until the WAV file is made of it."""

from __future__ import annotations

import contextlib
from typing import BinaryIO

from voiceguard.store.recordings import Recordings, Upload
from voiceguard.telephony.streams import AudioFormat, wav_pieces

FLUSH_BYTES = 32 * 1024
"""Bytes gathered before a thread writes them: some seconds of a call."""


class Spool:
    """The tracks of one stream; a context manager that leaves no file behind."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._files: list[Upload] = []
        self._pending: list[bytearray] = []
        self.sizes: list[int] = []
        self._stack = contextlib.ExitStack()

    def add(self, track: int, audio: bytes) -> None:
        """Take audio of a track into memory."""
        while track >= len(self.sizes):
            self._pending.append(bytearray())
            self.sizes.append(0)
        self._pending[track] += audio
        self.sizes[track] += len(audio)

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        return sum(map(len, self._pending)) >= FLUSH_BYTES

    def flush(self) -> None:
        """Write what is in memory; may wait for the disk."""
        while len(self._files) < len(self._pending):
            self._files.append(self._stack.enter_context(self._recordings.upload()))
        for file, pending in zip(self._files, self._pending, strict=True):
            if pending:
                file.write(pending)
                pending.clear()

    @property
    def paths(self) -> tuple[str, ...]:
        """The tracks' files, as far as they were flushed."""
        return tuple(str(file.path) for file in self._files)

    def write_wav(self, audio_format: AudioFormat, upload: Upload) -> None:
        """Write everything as one WAV file and return when it is on the disk."""
        self.flush()
        with contextlib.ExitStack() as stack:
            tracks: list[BinaryIO] = [stack.enter_context(file.path.open("rb")) for file in self._files]
            for piece in wav_pieces(audio_format, tracks, self.sizes):
                upload.write(piece)
        upload.sync()

    def close(self) -> None:
        """Remove the files."""
        self._stack.close()
