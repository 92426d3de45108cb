"""Packet captures: the records of classic pcap and of pcapng, and the UDP datagrams in them.

Sources: the libpcap file format (tcpdump.org/manpages/pcap-savefile.5) and draft-ietf-opsawg-pcapng. What is cut
off or of a kind that carries no calls is passed over; a damaged file ends where it can't be read any more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PCAP_MAGICS = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_NULL, _ETHERNET, _RAW, _SLL, _SLL2 = 0, 1, (12, 14, 101, 228, 229), 113, 276
_IPV4, _IPV6, _VLAN = 0x0800, 0x86DD, (0x8100, 0x88A8, 0x9100)
_UDP = 17


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram; time in seconds of the capture's clock."""

    time_s: float
    flow: tuple[bytes, int, bytes, int]
    """Source address and port, destination address and port."""
    payload: memoryview


def datagrams(data: bytes) -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture, in the order of the file."""
    records = _pcapng_records(data) if data.startswith(PCAPNG_MAGIC) else _pcap_records(data)
    for time_s, link, frame in records:
        packet = _network_packet(link, frame)
        if packet is not None and (found := _udp(packet)) is not None:
            yield Datagram(time_s, *found)


def _pcap_records(data: bytes) -> Iterator[tuple[float, int, memoryview]]:
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    if len(data) < 24:
        return
    tick_s = 1e-9 if data[:4] in (b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1") else 1e-6
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    view, position, record = memoryview(data), 24, struct.Struct(order + "IIII")
    while position + 16 <= len(data):
        seconds, ticks, kept, _ = record.unpack_from(data, position)
        position += 16
        if position + kept > len(data):
            return
        yield seconds + ticks * tick_s, link, view[position : position + kept]
        position += kept


def _pcapng_records(data: bytes) -> Iterator[tuple[float, int, memoryview]]:
    order, view, position = "<", memoryview(data), 0
    interfaces: list[tuple[int, float]] = []
    while position + 12 <= len(data):
        if data[position : position + 4] == PCAPNG_MAGIC:
            order = "<" if data[position + 8 : position + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, position)
        if length < 12 or length % 4 or position + length > len(data):
            return
        body = view[position + 8 : position + length - 4]
        position += length
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append((struct.unpack_from(order + "H", body)[0], _tick_s(order, body[8:])))
        elif kind == _ENHANCED and len(body) >= 20:
            index, high, low, kept = struct.unpack_from(order + "IIII", body)
            if index < len(interfaces) and 20 + kept <= len(body):
                link, tick_s = interfaces[index]
                yield ((high << 32) | low) * tick_s, link, body[20 : 20 + kept]
        elif kind == _PACKET and len(body) >= 20:
            index, _, high, low, kept = struct.unpack_from(order + "HHIII", body)
            if index < len(interfaces) and 20 + kept <= len(body):
                link, tick_s = interfaces[index]
                yield ((high << 32) | low) * tick_s, link, body[20 : 20 + kept]
        elif kind == _SIMPLE and len(body) >= 4 and interfaces:
            (size,) = struct.unpack_from(order + "I", body)
            yield 0.0, interfaces[0][0], body[4 : 4 + size]


def _tick_s(order: str, options: memoryview) -> float:
    """Seconds of a clock tick: option if_tsresol (9), else a microsecond."""
    position = 0
    while position + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, position)
        if code == 0:
            break
        if code == 9 and length == 1 and position + 5 <= len(options):
            exponent = options[position + 4]
            return float(2.0 ** -(exponent & 0x7F) if exponent & 0x80 else 10.0**-exponent)
        position += 4 + length + -length % 4
    return 1e-6


def _network_packet(link: int, frame: memoryview) -> memoryview | None:
    """Return the IP packet in a frame of the link layer."""
    if link in _RAW:
        return frame
    if link == _NULL:
        return frame[4:]
    if link == _SLL2:
        return frame[20:] if _ether_type(frame, 0) in (_IPV4, _IPV6) else None
    start = {_ETHERNET: 12, _SLL: 14}.get(link)
    if start is None:
        return None
    kind = _ether_type(frame, start)
    while kind in _VLAN:
        start += 4
        kind = _ether_type(frame, start)
    return frame[start + 2 :] if kind in (_IPV4, _IPV6) else None


def _ether_type(frame: memoryview, position: int) -> int:
    return int.from_bytes(frame[position : position + 2], "big") if position + 2 <= len(frame) else 0


def _udp(packet: memoryview) -> tuple[tuple[bytes, int, bytes, int], memoryview] | None:
    """Return flow and payload of an IP packet's UDP datagram, if it is a whole one."""
    if len(packet) < 28:
        return None
    version = packet[0] >> 4
    if version == 4:
        start = (packet[0] & 15) * 4
        fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF  # more fragments, or an offset
        if start < 20 or packet[9] != _UDP or fragment:
            return None
        source, target = bytes(packet[12:16]), bytes(packet[16:20])
    elif version == 6 and len(packet) >= 48 and packet[6] == _UDP:
        start, source, target = 40, bytes(packet[8:24]), bytes(packet[24:40])
    else:
        return None
    if start + 8 > len(packet):
        return None
    from_port, to_port, length = struct.unpack_from(">HHH", packet, start)
    if length < 8 or start + length > len(packet):
        return None
    return (source, from_port, target, to_port), packet[start + 8 : start + length]
