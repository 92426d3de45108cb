"""Rewrite what the README shows of the shipped detector: the scan of the samples, the error rates, the picture.

python scripts/update_readme.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CLIPS = "Clips of 3–4 s from wild pages, by channel"
CALLS = "Calls joined from clips of one voice, wild pages, by seconds of speech"
ROWS = (
    (CLIPS, "plain"),
    (CLIPS, "hard"),
    (CALLS, "plain, 8 s"),
    (CALLS, "plain, 24 s"),
    (CALLS, "hard, 24 s"),
)
NAMES = {
    "plain": "one clip of 3–4 s, plain phone line",
    "hard": "one clip of 3–4 s, bad line",
    "plain, 8 s": "call with 8 s of speech, plain",
    "plain, 24 s": "call with 24 s of speech, plain",
    "hard, 24 s": "call with 24 s of speech, bad line",
}


def scan_output() -> str:
    """Print of the README's first command, 100 columns wide."""
    command = [sys.executable, "-m", "voiceguard", "scan", "audio_samples/"]
    environment = os.environ | {"COLUMNS": "100"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in found.stdout.splitlines()]
    # How long it took differs from run to run.
    return "\n".join(re.sub(r", in [\d.]+ s$", "", line) for line in lines).strip()


def error_rates() -> str:
    """Table of the headline figures in models/evaluation.json."""
    tables = json.loads((ROOT / "models" / "evaluation.json").read_text())
    lines = [
        "| what is judged | people wrongly flagged | engines flagged | people sent to review "
        "| engines sent to review | EER |",
        "|---|---|---|---|---|---|",
    ]
    for title, name in ROWS:
        row = next(row for row in tables[title] if row["name"] == name)
        rates = [
            _rate(row[kind])
            for kind in (
                "false_positives",
                "true_positives",
                "review_false_positives",
                "review_true_positives",
            )
        ]
        lines.append(f"| {NAMES[name]} | {' | '.join(rates)} | {100 * row['eer']:.0f} % |")
    return "\n".join(lines)


def _rate(rate: dict[str, Any]) -> str:
    share = 100 * rate["count"] / rate["total"]
    return f"{share:.1f} % ({100 * rate['low']:.1f}–{100 * rate['high']:.1f})"


def rendered(readme: str) -> str:
    """Put the current output and figures into the README's text."""
    readme = re.sub(
        r"(<!-- scan -->\n```\n).*?(```\n)",
        lambda match: f"{match[1]}{scan_output()}\n{match[2]}",
        readme,
        flags=re.DOTALL,
    )
    return re.sub(
        r"(<!-- errors -->\n).*?(<!-- /errors -->)",
        lambda match: f"{match[1]}{error_rates()}\n{match[2]}",
        readme,
        flags=re.DOTALL,
    )


def main() -> None:
    """Rewrite README.md and its picture."""
    README.write_text(rendered(README.read_text()))
    images = ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "voiceguard", "screen", "audio_samples/dual-channel-bail-scam.wav"]
    subprocess.run(
        [*command, "--picture", str(images / "bail-scam.png")], cwd=ROOT, check=True, capture_output=True
    )


if __name__ == "__main__":
    main()
