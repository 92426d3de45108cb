"""Packet captures, written here: RTP in UDP in IP in what a capture of a network holds."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

NEAR, FAR = (b"\x0a\0\0\x01", 4000), (b"\x0a\0\0\x02", 5000)


@dataclass(frozen=True)
class Rtp:
    """A packet: when it was captured, and what its header says."""

    time_s: float
    number: int
    ticks: int
    payload: bytes
    kind: int = 0
    ssrc: int = 0x1234
    source: tuple[bytes, int] = NEAR
    target: tuple[bytes, int] = FAR

    def udp(self) -> bytes:
        header = struct.pack(
            ">BBHII", 0x80, self.kind, self.number & 0xFFFF, self.ticks & 0xFFFFFFFF, self.ssrc
        )
        return header + self.payload


def call(audio: bytes, *, frame: int = 160, ticks: int = 160, **options) -> list[Rtp]:
    """Cut coded audio into packets of 20 ms, numbered and timed from just before their counters wrap."""
    first = Rtp(1000.0, 65_500, 2**32 - 4000, b"", **options)
    return [
        replace(
            first,
            time_s=first.time_s + index * ticks / 8000,
            number=first.number + index,
            ticks=first.ticks + index * ticks,
            payload=audio[start : start + frame],
        )
        for index, start in enumerate(range(0, len(audio), frame))
    ]


def frames(
    packets: Iterable[Rtp | tuple[float, bytes]], link: str = "ethernet"
) -> Iterator[tuple[float, bytes]]:
    """Wrap packets, or bare UDP payloads with their times, for a link layer."""
    for packet in packets:
        if isinstance(packet, Rtp):
            time_s, payload, source, target = packet.time_s, packet.udp(), packet.source, packet.target
        else:
            (time_s, payload), source, target = packet, NEAR, FAR
        udp = struct.pack(">HHHH", source[1], target[1], 8 + len(payload), 0) + payload
        if link == "ipv6":
            ip = struct.pack(">IHBB", 6 << 28, len(udp), 17, 64) + source[0] * 4 + target[0] * 4 + udp
            yield time_s, bytes(12) + b"\x86\xdd" + ip
            continue
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source[0] + target[0] + udp
        before = {
            "ethernet": bytes(12) + b"\x08\0",
            "vlan": bytes(12) + b"\x81\0\0\x05\x08\0",
            "sll": bytes(14) + b"\x08\0",
            "sll2": b"\x08\0" + bytes(18),
            "raw": b"",
            "null": b"\x02\0\0\0",
        }[link]
        yield time_s, before + ip


LINKS = {"ethernet": 1, "vlan": 1, "ipv6": 1, "sll": 113, "sll2": 276, "raw": 101, "null": 0}


def pcap(packets, *, link: str = "ethernet", order: str = "<", nanoseconds: bool = False) -> bytes:
    tick = 1_000_000_000 if nanoseconds else 1_000_000
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, LINKS[link])]
    for time_s, frame in frames(packets, link):
        whole = int(time_s)
        out.append(
            struct.pack(order + "IIII", whole, round((time_s - whole) * tick) % tick, len(frame), len(frame))
        )
        out.append(frame)
    return b"".join(out)


def pcapng(packets, *, link: str = "ethernet", order: str = "<", resolution: int | None = None) -> bytes:
    """``resolution`` is the option if_tsresol."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + size + body + size

    options = b"" if resolution is None else struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    tick = 10**6 if resolution is None else 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    out = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(block(1, struct.pack(order + "HHI", LINKS[link], 0, 65535) + options))
    for time_s, frame in frames(packets, link):
        ticks = round(time_s * tick)
        size = len(frame)
        out.append(
            block(6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, size, size) + frame)
        )
    return b"".join(out)
