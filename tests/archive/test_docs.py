from __future__ import annotations

import re
from pathlib import Path

import pytest

from voiceguard.archive import worker
from voiceguard.archive.rows import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "scan-an-archive.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_documented(page: str, column: str):
    assert f"`{column}`" in page.split("## The rows")[1]


def test_every_error_code_is_documented(page: str):
    codes = re.findall(r"``(\w+)``", worker.__doc__ or "")
    assert len(codes) == 8
    for code in codes:
        assert f"`{code}`" in page
