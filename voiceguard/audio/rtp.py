"""RTP in a packet capture, as a recording: each stream a channel.

Packets are put in order by their numbers and in place by their time stamps (RFC 3550), duplicates go, gaps are
silence. Payload types 0, 3, 8, 9 and 18 are RFC 3551's PCMU, GSM, PCMA, G722 and G729; dynamic ones are known where
the capture holds the SDP that names them. Comfort noise (RFC 3389) and telephone events (RFC 4733) are no speech
and left out.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voiceguard.audio.capture import datagrams
from voiceguard.audio.stream import Stream, blame_recording
from voiceguard.errors import EmptyRecording, UnsupportedFormat

LEAST_PACKETS = 8
"""A flow with fewer packets that look like RTP is taken for chance."""
MAX_STREAMS = 64
MAX_JUMP_S = 10.0
"""Time stamps may run ahead of the capture's clock by this; a longer jump is an error of the sender."""
_BLOCK_SAMPLES = 1 << 16

_STATIC = {0: "PCMU", 3: "GSM", 8: "PCMA", 9: "G722", 13: "CN", 18: "G729", 19: "CN"}
_CODECS = {"PCMU": "g711_ulaw", "PCMA": "g711_alaw", "GSM": "gsm", "G722": "g722", "G729": "g729"}
_LEFT_OUT = frozenset({"CN", "TELEPHONE-EVENT"})
_DECODERS = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "GSM": "gsm", "G722": "g722", "G729": "g729"}
_FRAME_BYTES = {"PCMU": 1, "PCMA": 1, "GSM": 33, "G722": 1, "G729": 10}
_FRAME_TICKS = {"PCMU": 1, "PCMA": 1, "GSM": 160, "G722": 1, "G729": 80}
"""Ticks of the 8 kHz clock; G.722's clock runs at 8 kHz, too, though it samples at 16 (RFC 3551, 4.5.2)."""
CLOCK_HZ = 8000
_RTPMAP = re.compile(rb"a=rtpmap:([0-9]{1,3}) ([A-Za-z0-9.-]{1,32})/([0-9]{1,6})")


@dataclass(slots=True)
class _Packet:
    number: int
    ticks: int
    kind: int
    time_s: float
    payload: memoryview


@dataclass
class _Flow:
    """The packets of one direction and SSRC."""

    ssrc: int
    packets: list[_Packet] = field(default_factory=list)
    duplicates: int = 0
    reordered: int = 0
    lost: int = 0

    @property
    def is_rtp(self) -> bool:
        """Whether most packets follow one another; DNS or SIP that looks like RTP does not."""
        if len(self.packets) < LEAST_PACKETS:
            return False
        numbers = np.array([packet.number for packet in self.packets])
        steps = np.diff(numbers) & 0xFFFF
        return bool(np.mean((steps <= 50) | (steps >= 0xFFFF - 50)) > 0.8)

    def put_in_order(self) -> None:
        """Unwrap numbers and time stamps, sort, and drop what came twice."""
        number = ticks = None
        newest = -1
        for packet in self.packets:
            number = packet.number if number is None else number + _signed(packet.number - number, 16)
            ticks = packet.ticks if ticks is None else ticks + _signed(packet.ticks - ticks, 32)
            packet.number, packet.ticks = number, ticks
            self.reordered += number < newest
            newest = max(newest, number)
        by_number = {packet.number: packet for packet in reversed(self.packets)}
        self.duplicates = len(self.packets) - len(by_number)
        self.packets = [by_number[number] for number in sorted(by_number)]
        self.lost = self.packets[-1].number - self.packets[0].number + 1 - len(self.packets)


@dataclass(frozen=True)
class _Piece:
    """Payload of one codec and its place, in ticks from the recording's start."""

    start: int
    codec: str
    payload: memoryview


@contextlib.contextmanager
def open_capture(data: bytes) -> Iterator[Stream]:
    """Open a packet capture.

    Raises
    ------
    EmptyRecording
        If it holds no RTP, or only packets without speech.
    UnsupportedFormat
        If the RTP in it is in codecs that can't be read.
    """
    import av

    with blame_recording("a packet capture that can be read"):
        flows, names = _flows(data)
        channels, unknown = _channels(flows, names)
    if not channels:
        if unknown:
            raise UnsupportedFormat(
                f"Expected RTP with PCMU, PCMA, GSM, G722 or G729, but it has {', '.join(sorted(unknown))}."
            )
        raise EmptyRecording("Expected RTP in the packet capture, but it holds none.")
    codecs = Counter(piece.codec for pieces in channels for piece in pieces)
    rate_hz = 16000 if set(codecs) == {"G722"} else CLOCK_HZ
    scale = rate_hz // CLOCK_HZ
    frames = max(_end(pieces[-1]) for pieces in channels) * scale
    notes = [note for flow in flows if (note := _note(flow))]
    if unknown:
        notes.append(f"Left out: packets of {', '.join(sorted(unknown))}.")
    yield Stream(
        codec=_CODECS[codecs.most_common(1)[0][0]],
        rate_hz=rate_hz,
        channels=len(channels),
        decoder=f"PyAV {av.__version__}",
        blocks=_blocks([_decoded(pieces, rate_hz) for pieces in channels], frames),
        declared_frames=frames,
        notes=notes,
    )


def _flows(data: bytes) -> tuple[list[_Flow], dict[int, str]]:
    """Return the RTP streams in the order of their first packets, and the payload types that SDP names."""
    found: dict[tuple[Any, int], _Flow] = {}
    names: dict[int, str] = {}
    for datagram in datagrams(data):
        payload = datagram.payload
        if len(payload) >= 12 and payload[0] >> 6 == 2:
            packet = _packet(datagram.time_s, payload)
            if packet is None:
                continue
            key = (datagram.flow, struct.unpack_from(">I", payload, 8)[0])
            if key not in found:
                found[key] = _Flow(key[1])
            found[key].packets.append(packet)
        elif len(payload) > 60:
            for kind, name, _ in _RTPMAP.findall(bytes(payload)):
                names[int(kind)] = name.decode().upper()
    flows = [flow for flow in found.values() if flow.is_rtp]
    if len(flows) > MAX_STREAMS:
        raise UnsupportedFormat(
            f"Expected the packets of one call, but the capture has {len(flows)} streams."
        )
    for flow in flows:
        flow.put_in_order()
    return sorted(flows, key=lambda flow: flow.packets[0].time_s), names


def _packet(time_s: float, payload: memoryview) -> _Packet | None:
    """Read an RTP header (RFC 3550, section 5.1); None for what is none, such as RTCP."""
    kind = payload[1] & 0x7F
    if 72 <= kind <= 76:  # RTCP's types, seen as RTP
        return None
    start = 12 + 4 * (payload[0] & 15)
    if payload[0] & 0x10:
        if len(payload) < start + 4:
            return None
        start += 4 + 4 * struct.unpack_from(">H", payload, start + 2)[0]
    end = len(payload) - (payload[-1] if payload[0] & 0x20 else 0)
    if start > end:
        return None
    number, ticks = struct.unpack_from(">HI", payload, 2)
    return _Packet(number, ticks, kind, time_s, payload[start:end])


def _signed(difference: int, bits: int) -> int:
    """Difference of two counters that wrap, the short way round."""
    difference &= (1 << bits) - 1
    return difference - (1 << bits) if difference >> (bits - 1) else difference


def _channels(flows: list[_Flow], names: dict[int, str]) -> tuple[list[list[_Piece]], set[str]]:
    """Place each stream's packets on a common time line; also name the codecs that can't be read."""
    channels: list[list[_Piece]] = []
    unknown: set[str] = set()
    begin_s = min((flow.packets[0].time_s for flow in flows), default=0.0)
    for flow in flows:
        pieces: list[_Piece] = []
        first = flow.packets[0]
        offset = round((first.time_s - begin_s) * CLOCK_HZ) - first.ticks
        end = 0
        for packet in flow.packets:
            codec = _STATIC.get(packet.kind) or names.get(packet.kind)
            if codec is None and len(packet.payload) == 4:
                codec = "TELEPHONE-EVENT"
            if codec in _LEFT_OUT:
                continue
            if codec not in _CODECS:
                unknown.add(codec or f"payload type {packet.kind}")
                continue
            size = _FRAME_BYTES[codec]
            payload = packet.payload[: len(packet.payload) - len(packet.payload) % size]
            if not len(payload):
                continue
            latest = (packet.time_s - begin_s + MAX_JUMP_S) * CLOCK_HZ
            if not end - MAX_JUMP_S * CLOCK_HZ <= packet.ticks + offset <= max(latest, end):
                offset = end - packet.ticks  # the sender's clock began anew
            piece = _Piece(max(packet.ticks + offset, end), codec, payload)
            end = _end(piece)
            pieces.append(piece)
        if pieces:
            channels.append(pieces)
    return channels, unknown


def _end(piece: _Piece) -> int:
    return piece.start + len(piece.payload) // _FRAME_BYTES[piece.codec] * _FRAME_TICKS[piece.codec]


def _decoded(pieces: list[_Piece], rate_hz: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield start and samples [shape=(n,), float32] of each piece at ``rate_hz``."""
    decoders: dict[str, Callable[[memoryview], np.ndarray]] = {}
    for piece in pieces:
        if piece.codec not in decoders:
            decoders[piece.codec] = _decoder(piece.codec, rate_hz)
        samples = decoders[piece.codec](piece.payload)
        yield piece.start * rate_hz // CLOCK_HZ, samples


def _decoder(codec: str, rate_hz: int) -> Callable[[memoryview], np.ndarray]:
    import av

    context: Any = av.CodecContext.create(_DECODERS[codec], "r")
    context.layout = "mono"
    context.sample_rate = 16000 if codec == "G722" else CLOCK_HZ
    context.thread_count = 1
    step = _FRAME_BYTES[codec]
    halve = codec == "G722" and rate_hz == CLOCK_HZ
    resampler = None
    if halve:
        import soxr

        resampler = soxr.ResampleStream(16000, CLOCK_HZ, 1, dtype="float32", quality="QQ")

    def _decode(payload: memoryview) -> np.ndarray:
        size = step if step > 1 else max(len(payload), 1)
        out: list[np.ndarray] = []
        for start in range(0, len(payload), size):
            try:
                frames = context.decode(av.Packet(bytes(payload[start : start + size])))
            except av.FFmpegError:
                continue
            out.extend(frame.to_ndarray().reshape(-1) for frame in frames)
        if not out:
            return np.zeros(0, np.float32)
        joined = np.concatenate(out)
        samples = joined.astype(np.float32) / np.float32(32768)
        return resampler.resample_chunk(samples) if resampler is not None else samples

    return _decode


def _blocks(channels: list[Iterator[tuple[int, np.ndarray]]], frames: int) -> Iterator[np.ndarray]:
    """Yield blocks [shape=(n, channels), float32] of all channels side by side; silence where nothing came."""
    waiting: list[tuple[int, np.ndarray] | None] = [next(channel, None) for channel in channels]
    for begin in range(0, frames, _BLOCK_SAMPLES):
        end = min(begin + _BLOCK_SAMPLES, frames)
        block = np.zeros((end - begin, len(channels)), np.float32)
        for index, channel in enumerate(channels):
            while (piece := waiting[index]) is not None and piece[0] < end:
                start, samples = max(piece[0], begin), piece[1][max(begin - piece[0], 0) :]
                room = samples[: end - start]
                block[start - begin : start - begin + len(room), index] = room
                rest = samples[len(room) :]
                waiting[index] = (end, rest) if len(rest) else next(channel, None)
        yield block


def _note(flow: _Flow) -> str:
    faults = [
        f"{count} {what}"
        for count, what in (
            (flow.lost, "lost"),
            (flow.duplicates, "sent twice"),
            (flow.reordered, "out of order"),
        )
        if count
    ]
    return f"RTP stream {flow.ssrc:08x}: packets {', '.join(faults)}." if faults else ""
