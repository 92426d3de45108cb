from __future__ import annotations

from pathlib import Path

import pytest

from voiceguard.archive.throughput import codec_speeds, scalings
from voiceguard.audio import decode
from voiceguard.bench import run_bench
from voiceguard.errors import ModelError
from voiceguard.screening import Screener


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(("model", "most"), [(None, 25), (Path("light"), 10)])
def test_detectors_cost_no_more_log_spectrograms_than_they_say(audio_samples, model, most):
    # The light one is to stay under 8, and is printed at 6 to 7; the room is for a machine whose clock moves.
    samples = decode(audio_samples / "human-asterisk-en-ulaw.wav").channels[0]
    result = run_bench(Screener.load(model), samples, repeats=25)
    stages = {stage.name: stage for stage in result.stages}
    assert stages["screen, end to end"].spectrograms <= 30
    scored = ("features", "model", "network")
    assert sum(stages[name].spectrograms for name in scored) <= most
    parts = sum(stages[name].seconds for name in ("decode", "speech", *scored))
    assert stages["screen, end to end"].seconds >= 0.8 * parts


def test_every_codec_of_the_samples_has_its_speed(audio_samples):
    clips = [audio_samples / "human-asterisk-en-ulaw.wav", audio_samples / "human-armelle-fr-amr.amr"]
    speeds = codec_speeds(clips, None, repeats=1)
    assert [speed.codec for speed in speeds] == ["amr_nb", "g711_ulaw"]
    assert all(speed.hours_per_core_hour > 10 for speed in speeds)


def test_processes_are_compared(audio_samples):
    found = scalings(audio_samples / "human-asterisk-en-ulaw.wav", None, 2, seconds=0.3)
    assert [one.work for one in found] == ["screening", "plain numpy"]
    assert all(one.ratio > 0.2 for one in found)


def test_a_model_that_cannot_be_loaded_ends_the_comparison(audio_samples, tmp_path):
    with pytest.raises(ModelError):
        scalings(audio_samples / "human-asterisk-en-ulaw.wav", tmp_path, 2, seconds=0.3)
