"""Copies from eight clients to two servers: one campaign a recording. The full size is the script's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.postgres
def test_two_servers_agree_on_campaigns() -> None:
    script = [sys.executable, "-m", "scripts.load_campaigns", "--posts", "240", "--recordings", "12"]
    done = subprocess.run(
        [*script, "--database", os.environ["VOICEGUARD_TEST_POSTGRES_URL"]],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
