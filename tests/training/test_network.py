"""The network on the spectrogram: what it sees in training is what it hears in service, and a stop loses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.conftest import voice
from voiceguard.audio import RATE_HZ
from voiceguard.vad import FRAME_SAMPLES
from voiceguard.windows import SpeechWindow

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def small():
    from voiceguard.training.network import NetworkConfig

    return NetworkConfig(steps=6, clips=8, frames=64, channels=(4, 6, 6), wide=8, hidden=8, warm_up=2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Arrays of two versions of 24 voices, as `prepare` leaves them."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(5)
    synthetic = np.arange(24) % 2 == 0
    for version in (0, 1):
        audio = np.zeros((24, 34_400), np.int16)
        mask = np.zeros((24, 34_400 // FRAME_SAMPLES), bool)
        for row, label in enumerate(synthetic):
            samples = voice(rng, bool(label)) + 1e-3 * rng.standard_normal(24_000)
            audio[row, :24_000] = np.round(20_000 * samples).clip(-32_768, 32_767)
            mask[row, 5:290] = True
        mask[3] = False  # too little speech in this one
        np.save(folder / f"audio-{version}.npy", audio)
        np.save(folder / f"mask-{version}.npy", mask)
    return folder, synthetic


def hear(window):
    from voiceguard.features import analyse
    from voiceguard.spectrogram import hear_each

    (heard,) = hear_each(analyse([window]))
    return heard


def fit(prepared, config, kept):
    from voiceguard.training.network import fit_network

    folder, synthetic = prepared
    return fit_network(folder, [0, 1], np.ones(24, bool), synthetic, np.ones(24), config, 0, kept)


def test_crops_are_spectrograms_of_serving():
    import torch

    from voiceguard.features.spectrum import frame_mask
    from voiceguard.training.network import spectrograms

    rng = np.random.default_rng(2)
    samples = (0.1 * rng.standard_normal((3, 256 + 99 * 64))).astype(np.float32)
    masks = rng.random((3, samples.shape[1] // FRAME_SAMPLES)) < 0.6
    speech = np.stack([frame_mask(mask, 100) for mask in masks]).astype(np.float32)
    found, steps = spectrograms(torch.from_numpy(samples), torch.from_numpy(speech))
    for row, (one, mask) in enumerate(zip(samples, masks, strict=True)):
        expected, weights = hear(SpeechWindow(0.0, len(one) / RATE_HZ, one, mask))
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-3)
        np.testing.assert_allclose(steps[row].numpy(), weights, atol=1e-6)


def test_stopped_training_ends_where_another_would(prepared, small, tmp_path, monkeypatch):
    import torch

    from voiceguard.training import network

    monkeypatch.setattr(network, "CHECKPOINT_STEPS", 2)
    whole = fit(prepared, small, tmp_path / "whole.pt")
    draw = network._batch

    def stop(*arguments):
        if arguments[-1] == 5:
            raise KeyboardInterrupt
        return draw(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(network, "_batch", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(prepared, small, tmp_path / "stopped.pt")
    assert not (tmp_path / "stopped.pt").exists()
    resumed = fit(prepared, small, tmp_path / "stopped.pt")
    for name, values in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], values, rtol=0, atol=0)
    assert network.read_curve(tmp_path / "stopped.pt") == network.read_curve(tmp_path / "whole.pt")
    assert not (tmp_path / "stopped.checkpoint").exists()


def test_exported_graph_scores_alike(prepared, small, tmp_path):
    import onnxruntime
    import torch

    from voiceguard.spectrogram import BINS
    from voiceguard.training.export import export_network
    from voiceguard.training.network import Versions, network_logit

    folder, _ = prepared
    model = fit(prepared, small, tmp_path / "network.pt")
    session = onnxruntime.InferenceSession(export_network(model), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(8)
    for size in (500, 8000, 31_000):
        samples = (0.1 * rng.standard_normal(size)).astype(np.float32)
        window = SpeechWindow(0.0, 1.0, samples, rng.random(size // FRAME_SAMPLES) < 0.7)
        spectrogram, weights = hear(window)
        inputs = {"spectrogram": spectrogram[None, None], "weights": weights[:, None]}
        assert float(session.run(None, inputs)[0][0, 0]) == pytest.approx(
            network_logit(model, window), abs=1e-4
        )
    logits = Versions(folder, [0]).score(model, 0, np.arange(24))
    assert np.isnan(logits[3])
    assert np.isfinite(np.delete(logits, 3)).all()
    # Each principal component of a patch has a filter of either sign.
    patches = torch.nn.functional.unfold(torch.from_numpy(spectrogram)[None, None], 4, stride=2)
    assert patches.shape[1] == len(model.whitening) // 2
    assert spectrogram.shape[0] == BINS


def test_it_learns_what_it_has_not_heard(manifest, tmp_path):
    from voiceguard.training.corpus import load_corpus
    from voiceguard.training.crossfold import CrossFold, cross_fold_network, fuse, network_path
    from voiceguard.training.metrics import area_under_curve
    from voiceguard.training.network import NetworkConfig
    from voiceguard.training.prepare import prepare

    corpus = load_corpus(manifest)
    prepare(corpus, tmp_path, [0, 1, 2], jobs=2)
    config = NetworkConfig(steps=60, clips=16, channels=(8, 12, 12), wide=16, hidden=16, warm_up=5)
    found = cross_fold_network(corpus, tmp_path, [0, 1, 2], config, {"light": 0.5, "full": 1.0}, 0, 2)
    logits = found["full"]
    assert not np.array_equal(found["light"]["plain"], logits["plain"])
    synthetic, plain = corpus.column("synthetic"), logits["plain"]
    heard = np.isfinite(plain)
    assert area_under_curve(plain[heard & ~synthetic], plain[heard & synthetic]) > 0.9
    assert network_path(corpus, tmp_path, [0, 1, 2], config, 0, None).exists()
    nothing = {name: np.zeros(len(synthetic)) for name in logits}
    fused = fuse(corpus, CrossFold(nothing, nothing, np.zeros((len(synthetic), 1))), logits, 0.5)
    np.testing.assert_allclose(fused.scores["hard"], 0.5 * logits["hard"])
    assert fused.weights is not None
    assert fused.weights.shape == (len(synthetic), 2)
    assert np.nanmean(fused.weights[~synthetic, 1]) == pytest.approx(0, abs=1e-6)
