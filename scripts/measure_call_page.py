"""Time a call's page with a long recording, in a real browser.

    python scripts/measure_call_page.py --minutes 10 --most-ms 1000

Starts ``voiceguard serve`` on SQLite in a temporary folder, posts a recording made of the sample clips one after
the other, signs in, and opens the call's page ``--rounds`` times, each in a fresh browser context. Printed are the
milliseconds until the page can be read, until the waveform with its windows stands and the first sound can be
played, and until spectrogram and cues are there; the quietest round, and the median of all. Needs Chromium
(Debian: apt-get install chromium) and playwright. Exit code 1 if in the quietest round the page could be used
only after ``--most-ms``.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.measure_review import serving, session
from tests.review.chromium import launched
from voiceguard.audio import RATE_HZ, decode
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope

SAMPLES = Path(__file__).parents[1] / "audio_samples"
STEPS = {
    "can be read": "() => document.readyState !== 'loading'",
    "waveform and windows": "() => document.querySelector('[data-player][data-ready]')",
    "sound can be played": "() => document.querySelector('[data-audio]').readyState >= 3",
    "spectrogram": "() => document.querySelector('[data-spectrogram]:not([hidden])')",
    "cues": "() => document.querySelector('[data-cues] table')",
}
USABLE = ("can be read", "waveform and windows", "sound can be played")


def recording(minutes: float) -> bytes:
    """Return a µ-law WAV file of all sample clips, one after the other, until it is long enough."""
    clips = [
        decode(path).channels[0]
        for path in sorted(SAMPLES.iterdir())
        if path.suffix not in (".csv", ".md", "")
    ]
    samples = np.resize(np.concatenate(clips), int(minutes * 60 * RATE_HZ))
    out = io.BytesIO()
    soundfile.write(out, samples, RATE_HZ, format="WAV", subtype="ULAW")
    return out.getvalue()


def main() -> int:
    """Serve, post, look, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most-ms", type=float, default=1000.0)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in STEPS}
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/calls.db"
        engine = connect(database)
        migrate.upgrade(engine)
        scopes = frozenset({Scope.CALLS_WRITE})
        key = keys.create(engine, "measure", carrier="First Telecom", scopes=scopes)[1]
        with serving(database) as url, launched() as browser:
            answer = httpx2.post(
                f"{url}/v1/calls",
                files={
                    "audio": ("call.wav", recording(options.minutes)),
                    "call": (None, json.dumps({"started_at": "2026-03-01T14:05:00Z"}), "application/json"),
                },
                headers={"Authorization": f"Bearer {key}"},
                timeout=300,
            )
            answer.raise_for_status()
            cookie = {"name": "vg_session", "value": session(engine)["vg_session"], "url": url}
            for _ in range(options.rounds):
                context = browser.new_context(viewport={"width": 1360, "height": 900})
                context.add_cookies([cookie])
                page = context.new_page()
                began = time.perf_counter()
                page.goto(f"{url}/review/calls/{answer.json()['id']}", wait_until="commit")
                for name, condition in STEPS.items():
                    page.wait_for_function(condition, timeout=120_000)
                    taken[name].append((time.perf_counter() - began) * 1e3)
                context.close()
        engine.dispose()
    quietest = min(range(options.rounds), key=lambda one: max(taken[name][one] for name in USABLE))
    print(f"{'milliseconds until':24}{'quietest':>10}{'median':>10}")
    for name, times in taken.items():
        print(f"{name:24}{times[quietest]:10.0f}{statistics.median(times):10.0f}")
    return 0 if max(taken[name][quietest] for name in USABLE) <= options.most_ms else 1


if __name__ == "__main__":
    raise SystemExit(main())
