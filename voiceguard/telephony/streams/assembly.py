"""Chunks into their places: reordered, gaps filled with silence, losses counted.

Transports that keep the order (binary WebSocket messages, TCP) pass straight through. Where chunks are numbered
and timed they may come out of order or not at all. A chunk's number orders it; its time says how much is missing
before it, since some senders number all tracks together and some leave pauses out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from voiceguard.telephony.streams.events import AudioChunk, AudioFormat, Encoding

MAX_HELD = 12
"""Chunks that wait for one that is missing: a quarter of a second at 20 ms each."""
MAX_GAP_S = 10.0
"""A longer jump of the clock is taken for an error of the sender and not filled."""
MAX_LEAD_S = 600.0
"""How much later than the first track another may begin."""
MAX_FILL_BYTES = 16 << 20
"""No gap is filled with more."""
TOLERANCE_MS = 10
"""Clocks that jump less than this are read as running on."""
PAUSE_MS = 200
"""A clock that jumps this much between chunks with successive numbers skips a pause that was not sent."""
_RESTART = 1000
"""A number this far below the one that is due begins a new count."""

_SILENCE = {Encoding.PCMU: b"\xff", Encoding.PCMA: b"\xd5", Encoding.L16: b"\0", Encoding.G722: b"\xfa"}
"""What silence is coded as; in G.722 a quiet code, as an adaptive codec has no fixed one."""


@dataclass
class Losses:
    """What did not arrive as it should; seconds of all tracks together."""

    lost_s: float = 0.0
    """Filled with silence because chunks were missing."""
    paused_s: float = 0.0
    """Filled with silence because the sender left it out."""
    late: int = 0
    """Chunks that came twice, or after their place was filled."""
    reordered: int = 0


@dataclass
class _Track:
    index: int
    begun: bool = False
    next_number: int | None = None
    due_ms: float | None = None
    held: dict[int, AudioChunk] = field(default_factory=dict)


class Assembly:
    """Puts one stream's chunks in order."""

    def __init__(self) -> None:
        self.format: AudioFormat | None = None
        self.losses = Losses()
        self._tracks: dict[str, _Track] = {}
        self._base_ms: int | None = None

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks, in the order of their first chunks."""
        return tuple(self._tracks)

    def add(self, chunk: AudioChunk) -> list[tuple[int, bytes]]:
        """Take a chunk; return what is in place now, as index of the track and bytes."""
        self.format = chunk.format
        track = self._tracks.get(chunk.track)
        if track is None:
            track = self._tracks[chunk.track] = self._begin(chunk)
        number = chunk.number
        if number is None:
            return list(self._place(track, None, chunk))
        if track.next_number is not None and number < track.next_number:
            if track.next_number - number < _RESTART:
                self.losses.late += 1
                return []
            out = list(self._release(track, everything=True))
            track.next_number, track.due_ms = None, None
            return [*out, *self._place(track, number, chunk)]
        if self._fits(track, number, chunk):
            out = list(self._place(track, number, chunk))
            self.losses.reordered += bool(track.held)
            return [*out, *self._release(track)]
        if number in track.held:
            self.losses.late += 1
            return []
        track.held[number] = chunk
        return list(self._release(track))

    def finish(self) -> list[tuple[int, bytes]]:
        """Return what still waited for chunks that will not come."""
        return [piece for track in self._tracks.values() for piece in self._release(track, everything=True)]

    def _begin(self, chunk: AudioChunk) -> _Track:
        track = _Track(len(self._tracks))
        if self._base_ms is None:
            self._base_ms = chunk.time_ms
        elif chunk.time_ms is not None and chunk.time_ms - self._base_ms <= MAX_LEAD_S * 1000:
            # It may begin later than the first track: the silence before it keeps the two side by side.
            track.due_ms = self._base_ms
        return track

    def _fits(self, track: _Track, number: int, chunk: AudioChunk) -> bool:
        """Whether nothing is missing before this chunk."""
        if track.next_number is None or number == track.next_number:
            return True
        if chunk.time_ms is None or track.due_ms is None:
            return False
        return chunk.time_ms <= track.due_ms + TOLERANCE_MS

    def _release(self, track: _Track, everything: bool = False) -> Iterable[tuple[int, bytes]]:
        while track.held:
            number = min(track.held)
            fits = self._fits(track, number, track.held[number])
            if not (fits or everything or len(track.held) > MAX_HELD):
                return
            yield from self._place(track, number, track.held.pop(number))

    def _place(self, track: _Track, number: int | None, chunk: AudioChunk) -> Iterable[tuple[int, bytes]]:
        length_ms = 1000 * len(chunk.payload) / chunk.format.bytes_per_s
        first = not track.begun
        skipped = 0 if number is None or track.next_number is None else number - track.next_number
        gap_ms = 0.0
        if chunk.time_ms is not None and track.due_ms is not None:
            gap_ms = chunk.time_ms - track.due_ms
            if gap_ms < (TOLERANCE_MS if skipped or first else PAUSE_MS):
                gap_ms = 0.0
        elif skipped and chunk.time_ms is None:
            gap_ms = skipped * length_ms
        most_s = min(MAX_LEAD_S if first else MAX_GAP_S, MAX_FILL_BYTES / chunk.format.bytes_per_s)
        if gap_ms > 1000 * most_s:
            gap_ms = 0.0
        if gap_ms > 0:
            silence = silence_of(chunk.format, gap_ms / 1000)
            yield track.index, silence
            if skipped:
                self.losses.lost_s += gap_ms / 1000
            else:
                self.losses.paused_s += gap_ms / 1000
        if chunk.payload:
            yield track.index, chunk.payload
        track.begun = True
        track.next_number = None if number is None else number + 1
        track.due_ms = None if chunk.time_ms is None else chunk.time_ms + length_ms


def silence_of(audio_format: AudioFormat, seconds: float) -> bytes:
    """Return silence of that length, in whole blocks."""
    count = round(seconds * audio_format.bytes_per_s)
    return _SILENCE[audio_format.encoding] * (count - count % audio_format.block_bytes)
