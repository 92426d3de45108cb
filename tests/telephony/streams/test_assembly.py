from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceguard.telephony.streams import Assembly, AudioChunk, AudioFormat, Encoding
from voiceguard.telephony.streams.assembly import MAX_HELD

MULAW = AudioFormat(Encoding.PCMU, 8000)
FRAME = 160


def frame(index: int) -> bytes:
    return bytes([index % 200]) * FRAME


def chunk(
    index: int, *, track: str = "inbound", number: int | None = None, time_ms: int | None = None
) -> AudioChunk:
    return AudioChunk(MULAW, frame(index), track, number, time_ms)


def timed(index: int, **options) -> AudioChunk:
    return chunk(index, number=index + 1, time_ms=5 + 20 * index, **options)


def put(chunks) -> tuple[list[bytes], Assembly]:
    assembly = Assembly()
    out: list[bytes] = []
    for pieces in [*(assembly.add(one) for one in chunks), assembly.finish()]:
        for track, piece in pieces:
            out.extend(b"" for _ in range(track + 1 - len(out)))
            out[track] += piece
    return out, assembly


def test_a_stream_in_order_comes_out_as_it_came():
    (audio,), assembly = put(timed(index) for index in range(100))
    assert audio == b"".join(frame(index) for index in range(100))
    assert vars(assembly.losses) == {"lost_s": 0.0, "paused_s": 0.0, "late": 0, "reordered": 0}


@given(st.permutations(range(MAX_HELD)))
@settings(derandomize=True, max_examples=200)
def test_any_order_within_the_window_is_mended(order):
    (audio,), assembly = put([timed(0), *(timed(1 + index) for index in order)])
    assert audio == b"".join(frame(index) for index in range(MAX_HELD + 1))
    assert assembly.losses.lost_s == 0


def test_twice_the_same_counts_once():
    (audio,), assembly = put(timed(index // 2) for index in range(20))
    assert audio == b"".join(frame(index) for index in range(10))
    assert assembly.losses.late == 10


@pytest.mark.parametrize("with_times", [True, False])
def test_what_is_missing_is_silence_of_its_length(with_times):
    sent = [index for index in range(60) if index not in (20, 21, 40)]
    chunks = [timed(index) if with_times else chunk(index, number=index + 1) for index in sent]
    (audio,), assembly = put(chunks)
    expected = [b"\xff" * FRAME if index in (20, 21, 40) else frame(index) for index in range(60)]
    assert audio == b"".join(expected)
    assert assembly.losses.lost_s == pytest.approx(0.06)


def test_a_pause_that_was_not_sent_is_silence():
    chunks = [
        chunk(index, number=index + 1, time_ms=20 * index + (1000 if index >= 5 else 0))
        for index in range(10)
    ]
    (audio,), assembly = put(chunks)
    assert len(audio) == 10 * FRAME + 8000
    assert assembly.losses.paused_s == pytest.approx(1.0)
    assert assembly.losses.lost_s == 0


def test_a_clock_of_the_wall_may_wander():
    steps = [0, 19, 44, 58, 95, 101, 125, 139]
    (audio,), assembly = put(
        chunk(index, number=index + 1, time_ms=1_716_358_300_000 + time) for index, time in enumerate(steps)
    )
    assert len(audio) == len(steps) * FRAME
    assert assembly.losses.lost_s == assembly.losses.paused_s == 0


def test_a_clock_that_jumps_for_hours_is_not_followed():
    (audio,), _ = put([timed(0), chunk(1, number=2, time_ms=3_600_000)])
    assert len(audio) == 2 * FRAME


@pytest.mark.parametrize("together", [False, True], ids=["numbered-apart", "numbered-together"])
def test_two_tracks_stand_side_by_side(together):
    chunks = []
    for index in range(50):
        chunks.append(chunk(index, number=2 * index + 1 if together else index + 1, time_ms=20 * index))
        if index >= 10:
            number = 2 * index + 2 if together else index - 9
            chunks.append(chunk(100 + index, track="outbound", number=number, time_ms=20 * index))
    (near, far), assembly = put(chunks)
    assert near == b"".join(frame(index) for index in range(50))
    assert far == b"\xff" * FRAME * 10 + b"".join(frame(100 + index) for index in range(10, 50))
    assert assembly.losses.lost_s == 0
    assert assembly.tracks == ("inbound", "outbound")


def test_a_count_that_begins_anew_is_followed():
    (audio,), _ = put(
        [*(chunk(index, number=5000 + index) for index in range(5)), chunk(5, number=1), chunk(6, number=2)]
    )
    assert audio == b"".join(frame(index) for index in range(7))


def test_without_numbers_everything_passes():
    (audio,), _ = put(chunk(index) for index in (3, 1, 2))
    assert audio == frame(3) + frame(1) + frame(2)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5000), st.booleans()), max_size=80))
@settings(derandomize=True, max_examples=300)
def test_any_numbers_and_times_give_whole_frames_and_bounded_silence(sent):
    out, _ = put(
        chunk(index, track="outbound" if other else "inbound", number=number, time_ms=time_ms)
        for index, (number, time_ms, other) in enumerate(sent)
    )
    assert sum(len(audio) for audio in out) <= 160 * len(sent) + 8000 * 11 * (len(sent) + 2)
