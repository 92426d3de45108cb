"""The README shows what the program really prints and what the evaluation really found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import update_readme

README = update_readme.README.read_text()


def rows(text: str) -> list[tuple[str, ...]]:
    """Words of each line that names a sample, without the score."""
    lines = [line.split() for line in text.splitlines() if line.startswith("audio_samples/")]
    return [tuple(word for word in words if not re.fullmatch(r"[+-]\d+\.\d+", word)) for words in lines]


def scores(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<=\s)[+-]\d+\.\d\d(?=\s)", text)]


def test_scan_table_is_what_scan_prints():
    shown = README.split("<!-- scan -->")[1].split("```")[1]
    printed = update_readme.scan_output()
    assert rows(shown) == rows(printed)
    assert len(rows(shown)) >= 12
    assert scores(shown) == pytest.approx(scores(printed), abs=0.02)


def test_error_rates_are_those_of_the_evaluation():
    assert update_readme.error_rates() in README


def test_links_lead_somewhere():
    root = update_readme.ROOT
    for page in [root / "README.md", *root.glob("docs/**/*.md"), root / "models" / "CARD.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / Path(target)).exists(), f"{page.name}: {target}"


def test_ci_runs_the_commands_as_written():
    for name in ("first", "second"):
        command = README.split(f"<!-- ci: {name} -->")[1].split("```")[1]
        assert command.startswith("sh\npip install ")
        assert f"readme_command {name}" in (update_readme.ROOT / ".ci" / "run").read_text()
