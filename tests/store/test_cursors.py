from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.store import cursors


@given(st.integers(0, 10**18 - 1))
def test_a_cursor_comes_back(seq: int) -> None:
    assert cursors.decode(cursors.encode(seq)) == seq


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    try:
        seq = cursors.decode(text)
    except ValueError:
        return
    assert 0 <= seq < 10**18


def test_what_encode_did_not_make_is_refused() -> None:
    for text in ("", "1", "MTox\n", "Mjox", "MTotMQ", "é"):
        with pytest.raises(ValueError, match="cursor"):
            cursors.decode(text)
