"""The probes: what trivial cues explain, and how far the channel moves a score."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def prepared(manifest, tmp_path_factory):
    from voiceguard.training.corpus import load_corpus
    from voiceguard.training.prepare import prepare

    corpus, work = load_corpus(manifest), tmp_path_factory.mktemp("work")
    prepare(corpus, work, [0, 1, 2, "clean"], jobs=1)
    return corpus, work


def test_the_clean_version_went_through_no_channel(prepared):
    from voiceguard.training.corpus import read_samples

    corpus, work = prepared
    kept = np.load(work / "audio-clean.npy")[5]
    clip = read_samples(corpus.clips[5])
    # Long pauses are left out; what stays is the clip's own samples.
    assert np.abs(kept[:4000] / 32768 - clip[:4000]).max() < 1e-4


def test_a_score_that_lives_on_level_is_found_out(prepared, tmp_path):
    from voiceguard.training.crossfold import CrossFold
    from voiceguard.training.probe import probe_trivial_cues, trivial_cues

    corpus, work = prepared
    synthetic = corpus.column("synthetic")
    for name in ("speech-0.npy", "channels-0.json"):
        shutil.copy(work / name, tmp_path)
    audio = np.load(work / "audio-0.npy")
    audio[synthetic] //= 4
    np.save(tmp_path / "audio-0.npy", audio)
    noise = 0.3 * np.random.default_rng(5).standard_normal(len(synthetic))
    seconds = {name: np.full(len(synthetic), 3.0) for name in ("plain", "mild", "hard")}

    def probed(score, folder):
        return probe_trivial_cues(corpus, CrossFold(dict.fromkeys(seconds, score), seconds), folder)

    honest = probed(synthetic + noise, work)
    assert honest.without_cues > honest.detector - 0.1
    shortcut = probed(-trivial_cues(tmp_path, 0)[:, 1] / 12 + noise, tmp_path)
    assert shortcut.detector > 0.8
    assert shortcut.cues > 0.8
    assert shortcut.without_cues < 0.7


def test_spread_over_channels_is_that_of_two_trainings(prepared):
    from voiceguard.training.crossfold import recipes
    from voiceguard.training.mlp import MlpConfig
    from voiceguard.training.network import NetworkConfig
    from voiceguard.training.probe import probe_spread

    corpus, work = prepared
    perceptron = MlpConfig(hidden=(32, 8), epochs=12, batch=32)
    recipe = dataclasses.replace(recipes(1)["full"], perceptron=perceptron)
    config = NetworkConfig(steps=12, clips=8, frames=128, channels=(8, 8, 8), wide=16, hidden=8)
    found = probe_spread(corpus, work, [0, 1, 2], recipe, config)
    assert found.clips == 16
    for name in ("detector", "perceptrons", "network"):
        one, other = getattr(found.recipe, name), getattr(found.clean, name)
        assert 0 < one.of_clips < 2
        assert one != other
    assert found.recipe.perceptrons.of_clips < found.clean.perceptrons.of_clips
    # What was trained is kept.
    assert probe_spread(corpus, work, [0, 1, 2], recipe, config).recipe.network == found.recipe.network
