from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from voiceguard.telephony.attestation import parse_attestation

PAGE = Path(__file__).parents[2] / "docs" / "api" / "attestation.md"
ROWS = re.findall(
    r"^\| [^|]+ \| `(?P<value>[^`]+)` \| (?P<level>[ABC]?) ?\| (?P<found>\w+) \|$", PAGE.read_text(), re.M
)


def test_the_table_is_found() -> None:
    assert len(ROWS) == 11


@pytest.mark.parametrize(("value", "level", "found"), ROWS)
def test_each_form_in_the_docs_is_read_as_they_say(value: str, level: str, found: str) -> None:
    attestation = parse_attestation(json.loads(value))
    assert (attestation.level or "", attestation.verification) == (level, found)
