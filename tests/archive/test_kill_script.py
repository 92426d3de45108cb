from __future__ import annotations

import sys

import pytest

from scripts import kill_scan


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_small_archive_survives_kills(capsys: pytest.CaptureFixture[str]):
    assert kill_scan.main(["--files", "300", "--kills", "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("yes  ") == 6
    assert "memory, killed: " in printed
