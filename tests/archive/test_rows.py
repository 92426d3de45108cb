from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voiceguard.archive.rows import Row, Scored, for_path, from_json, printable_path, to_json
from voiceguard.screening import Window

numbers = st.floats(allow_nan=False, allow_infinity=False)
optional = st.none() | numbers
words = st.none() | st.text(max_size=20)
rows = st.builds(
    Row,
    path=st.just("a.wav"),
    channel=st.none() | st.integers(0, 7),
    sha256=words,
    duration_s=optional,
    speech_s=optional,
    verdict=words,
    reason=words,
    score=optional,
    probability=optional,
    threshold=optional,
    model=words,
    codec=words,
    rate_hz=st.none() | st.integers(0, 400_000),
    error=words,
    windows=st.none() | st.lists(st.builds(Window, numbers, numbers, numbers), max_size=3).map(tuple),
)


@given(verdict=words, rows=st.lists(rows, min_size=1, max_size=3).map(tuple))
def test_journal_form_reads_back_exactly(verdict, rows):
    result = Scored(verdict, rows)
    assert from_json("a.wav", to_json(result)) == result


@given(rows=st.lists(rows, min_size=1, max_size=3).map(tuple))
def test_twin_differs_in_its_path_alone(rows):
    result = Scored("human", rows)
    twin = for_path(result, "b.wav")
    assert {row.path for row in twin.rows} == {"b.wav"}
    assert for_path(twin, "a.wav") == result


@given(st.binary(min_size=1, max_size=30))
def test_any_file_name_is_printable(name):
    import os

    assert printable_path(os.fsdecode(name)).encode("utf-8")
