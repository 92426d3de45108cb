from __future__ import annotations

import io
import random
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audio.captures import FAR, LINKS, NEAR, Rtp, call, pcap, pcapng
from tests.audio.encode import by_ffmpeg, tones
from voiceguard.audio import Limits, decode
from voiceguard.errors import AudioError, EmptyRecording, RecordingTooLong, TooManyChannels, UnsupportedFormat
from voiceguard.screening import Screener


@pytest.fixture(scope="module")
def ulaw(audio_samples):
    """Ten seconds of speech in µ-law, whole packets."""
    samples, rate_hz = soundfile.read(audio_samples / "human-asterisk-en-ulaw.wav", dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, samples[: 10 * rate_hz], rate_hz, format="RAW", subtype="ULAW")
    return file.getvalue()


def plain(data: bytes, name: str = "call.ulaw") -> np.ndarray:
    return decode(data, name=name).channels[0]


WRITERS = {
    **{f"pcap-{link}": lambda packets, link=link: pcap(packets, link=link) for link in LINKS},
    "pcap-big-endian": lambda packets: pcap(packets, order=">"),
    "pcap-nanoseconds": lambda packets: pcap(packets, nanoseconds=True),
    "pcapng": pcapng,
    "pcapng-big-endian": lambda packets: pcapng(packets, order=">"),
    "pcapng-nanoseconds": lambda packets: pcapng(packets, resolution=9),
    "pcapng-powers-of-two": lambda packets: pcapng(packets, resolution=0x80 | 20),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_call_in_any_capture_is_what_was_said(name, ulaw):
    recording = decode(WRITERS[name](call(ulaw)))
    assert (recording.container, recording.codec) == (name.split("-")[0], "g711_ulaw")
    assert (recording.rate_hz, recording.duration_s, recording.notes) == (8000, 10.0, ())
    assert np.array_equal(recording.channels[0], plain(ulaw))


def test_the_score_is_that_of_the_recording(ulaw):
    screener = Screener.load()
    expected = screener.screen(ulaw, name="call.ulaw").decision.score
    assert screener.screen(pcap(call(ulaw))).decision.score == pytest.approx(expected, abs=1e-3)


def test_order_and_doubles_do_not_matter(ulaw):
    packets = call(ulaw)
    times = [packet.time_s for packet in packets]
    rng = random.Random(1)
    mixed = sorted(packets, key=lambda packet: packet.time_s + rng.random() * 0.1)
    mixed = [replace(packet, time_s=time_s) for packet, time_s in zip(mixed, times, strict=True)]
    mixed = [packet for packet in mixed for _ in range(rng.randint(1, 2))]
    recording = decode(pcap(mixed))
    assert np.array_equal(recording.channels[0], plain(ulaw))
    assert "sent twice" in recording.notes[0]
    assert "out of order" in recording.notes[0]


def test_a_gap_is_silence_of_its_length(ulaw):
    packets = call(ulaw)
    del packets[100:110]
    recording = decode(pcap(packets))
    expected = plain(ulaw).copy()
    expected[100 * 160 : 110 * 160] = 0
    assert np.array_equal(recording.channels[0], expected)
    assert recording.notes == ("RTP stream 00001234: packets 10 lost.",)


def test_each_direction_is_a_channel_in_its_time(ulaw):
    near = call(ulaw)
    far = [
        replace(packet, time_s=packet.time_s + 1) for packet in call(ulaw, ssrc=0x99, source=FAR, target=NEAR)
    ]
    recording = decode(pcap(sorted([*near, *far], key=lambda packet: packet.time_s)))
    assert recording.duration_s == 11
    first, second = recording.channels
    assert np.array_equal(first[:80_000], plain(ulaw))
    assert not second[:8000].any()
    assert np.array_equal(second[8000:], plain(ulaw))


def test_a_new_ssrc_is_a_new_channel(ulaw):
    packets = call(ulaw)
    halves = [*packets[:250], *(replace(packet, ssrc=0x77) for packet in packets[250:])]
    assert len(decode(pcap(halves)).channels) == 2


def test_comfort_noise_and_telephone_events_are_no_audio(ulaw):
    packets = call(ulaw)
    for index in (50, 51):
        packets[index] = replace(packets[index], kind=13, payload=b"\x40")
    for index in (80, 81, 82):
        packets[index] = replace(packets[index], kind=101, payload=b"\x05\x0a\x01\x40")
    expected = plain(ulaw).copy()
    expected[50 * 160 : 52 * 160] = 0
    expected[80 * 160 : 83 * 160] = 0
    assert np.array_equal(decode(pcap(packets)).channels[0], expected)


def test_header_extension_csrc_and_padding_are_no_audio(ulaw):
    packets = call(ulaw)

    class Long(Rtp):
        def udp(self) -> bytes:
            plain = super().udp()
            return bytes([0xB1]) + plain[1:12] + bytes(4) + b"\xbe\xde\0\1abcd" + plain[12:] + b"\0\0\3"

    packets[10] = Long(**{name: getattr(packets[10], name) for name in packets[10].__dataclass_fields__})
    assert np.array_equal(decode(pcap(packets)).channels[0], plain(ulaw))


@pytest.mark.parametrize(
    ("kind", "codec", "frame", "ticks", "rate_hz"),
    [(9, "g722", 160, 160, 16000), (8, "g711_alaw", 160, 160, 8000)],
)
def test_other_codecs_decode_as_their_files_do(kind, codec, frame, ticks, rate_hz):
    encoder, suffix = {"g722": ("g722", "g722"), "g711_alaw": ("pcm_alaw", "alaw")}[codec]
    data = by_ffmpeg(tones(rate_hz, 4, 1), rate_hz, muxer=suffix, encoder=encoder)
    data = data[: len(data) - len(data) % frame]
    recording = decode(pcap(call(data, frame=frame, ticks=ticks, kind=kind)))
    assert (recording.codec, recording.rate_hz) == (codec, rate_hz)
    expected = plain(data, f"call.{suffix}")
    assert len(recording.channels[0]) == len(expected)
    assert np.allclose(recording.channels[0], expected, atol=1e-4)


def test_gsm_and_g729_frames():
    file = io.BytesIO()
    soundfile.write(file, tones(8000, 4, 1), 8000, format="RAW", subtype="GSM610")
    gsm = file.getvalue()
    recording = decode(pcap(call(gsm, frame=33, ticks=160, kind=3)))
    expected = plain(gsm, "call.gsm")
    assert recording.codec == "gsm"
    assert np.corrcoef(recording.channels[0][: len(expected)], expected)[0, 1] > 0.999
    g729 = np.random.default_rng(5).bytes(20 * 100)
    packets = call(g729, frame=20, ticks=160, kind=18)
    packets[-1] = replace(
        packets[-1], payload=packets[-1].payload + b"\1\2"
    )  # a frame of silence description
    recording = decode(pcap(packets))
    assert (recording.codec, recording.duration_s) == ("g729", 2.0)
    assert np.allclose(recording.channels[0], plain(g729, "call.g729"), atol=1e-4)


def test_dynamic_types_are_what_the_sdp_says(ulaw):
    sdp = (
        b"INVITE sip:a@b SIP/2.0\r\n\r\nv=0\r\nm=audio 4000 RTP/AVP 97 98\r\n"
        b"a=rtpmap:97 pcmu/8000\r\na=rtpmap:98 opus/48000/2\r\n"
    )
    packets = call(ulaw, kind=97)
    assert np.array_equal(decode(pcap([(999.0, sdp), *packets])).channels[0], plain(ulaw))
    with pytest.raises(UnsupportedFormat, match="OPUS"):
        decode(pcap([(999.0, sdp), *(replace(packet, kind=98) for packet in packets)]))
    with pytest.raises(UnsupportedFormat, match="payload type 97"):
        decode(pcap(packets))


def test_what_is_no_call_is_said_so(ulaw):
    with pytest.raises(EmptyRecording, match="RTP"):
        decode(pcap([(1.0, b"\0\1example.com" * 5)] * 50))
    noise = random.Random(2)
    chance = [Rtp(index, noise.randrange(65536), noise.randrange(2**32), bytes(20)) for index in range(50)]
    with pytest.raises(EmptyRecording):
        decode(pcap(chance))
    with pytest.raises(EmptyRecording):
        decode(pcap([]))


def test_limits_hold(ulaw):
    packets = call(ulaw)
    many = [replace(packet, ssrc=ssrc) for packet in packets[:20] for ssrc in range(9)]
    with pytest.raises(TooManyChannels):
        decode(pcap(many))
    with pytest.raises(RecordingTooLong):
        decode(pcap(packets), limits=Limits(max_duration_s=5))
    with pytest.raises(UnsupportedFormat, match="one call"):
        decode(pcap([replace(packet, ssrc=ssrc) for packet in packets[:20] for ssrc in range(70)]))


def test_a_clock_that_jumps_is_not_followed(ulaw):
    packets = call(ulaw)
    jumped = [
        replace(packet, ticks=packet.ticks + 800_000_000 * (index > 100))
        for index, packet in enumerate(packets)
    ]
    recording = decode(pcap(jumped))
    assert recording.duration_s == pytest.approx(10.0, abs=0.1)


def test_a_capture_that_is_cut_off_is_read_to_there(ulaw):
    data = pcap(call(ulaw))
    recording = decode(data[: len(data) // 2])
    assert 4.9 < recording.duration_s < 5
    assert np.array_equal(recording.channels[0], plain(ulaw)[: len(recording.channels[0])])


@given(
    st.sampled_from(["pcap", "pcapng"]),
    st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
    st.integers(0, 2**16),
)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_damaged_captures_decode_or_are_refused(kind, changes, length):
    packets = [
        *call(bytes(range(256)) * 20),
        *call(bytes(3200), kind=9, ssrc=5),
        *call(bytes(660), frame=33, kind=3, ssrc=6),
    ]
    data = bytearray({"pcap": pcap, "pcapng": pcapng}[kind](packets))
    for place, piece in changes:
        start = place % len(data)
        data[start : start + len(piece)] = piece
    try:
        recording = decode(bytes(data[: 24 + length]), limits=Limits(max_duration_s=60))
    except AudioError as error:
        assert str(error).startswith("Expected ")  # noqa: PT017
    else:
        assert all(np.isfinite(channel).all() for channel in recording.channels)


def test_records_that_lie_about_their_length():
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for kept in (0xFFFFFFFF, 100, 13):
        with pytest.raises(EmptyRecording):
            decode(head + struct.pack("<IIII", 1, 0, kept, kept) + bytes(12))
