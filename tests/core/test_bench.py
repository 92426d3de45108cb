from __future__ import annotations

import pytest

from voiceguard.audio import decode
from voiceguard.bench import run_bench
from voiceguard.screening import Screener


@pytest.mark.slow
@pytest.mark.alone
def test_screening_costs_at_most_thirty_log_spectrograms(audio_samples):
    samples = decode(audio_samples / "human-asterisk-en-ulaw.wav").channels[0]
    result = run_bench(Screener.load(), samples, repeats=15)
    stages = {stage.name: stage for stage in result.stages}
    assert stages["screen, end to end"].spectrograms <= 30
    parts = sum(stages[name].seconds for name in ("decode", "speech", "features", "model"))
    assert stages["screen, end to end"].seconds >= 0.8 * parts
