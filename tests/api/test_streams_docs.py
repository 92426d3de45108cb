"""docs/live says what the code does, and its client works as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.api.server import Server
from voiceguard.api.streams.ends import CODES
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope
from voiceguard.streaming import LOOKS_AT_S
from voiceguard.verdict import Calibration

LIVE = Path(__file__).parents[2] / "docs" / "live"
OVERVIEW = (LIVE / "README.md").read_text()


def test_every_end_is_explained() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+) \| (.*) \|$", OVERVIEW, re.MULTILINE)
    assert rows == [(name, str(code), meaning) for name, (code, meaning) in CODES.items()]


def test_looks_and_margin_are_those_of_the_code() -> None:
    said = re.search(r"when it has ([\d, and]+) seconds of speech", OVERVIEW)
    assert said is not None
    assert tuple(float(number) for number in re.findall(r"\d+", said[1])) == LOOKS_AT_S
    assert f"margin of {Calibration.live_margin}" in " ".join(OVERVIEW.split())


def test_the_client_of_the_page_works(tmp_path: Path, audio_samples: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (LIVE / "pcm.md").read_text(), re.DOTALL)
    engine = connect(f"sqlite:///{tmp_path / 'voiceguard.db'}")
    migrate.upgrade(engine)
    key = keys.create(engine, "docs", carrier="First Telecom", scopes=frozenset((Scope.STREAMS,)))[1]
    engine.dispose()
    with Server(tmp_path) as server:
        url = server.url.replace("http://", "ws://")
        clip = audio_samples / "human-asterisk-en-short-pcm.wav"
        done = subprocess.run(
            [sys.executable, "-c", program, url, key, clip], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["start", "end"]
    assert events[-1]["screening"]["reason"] == "too_little_speech"
