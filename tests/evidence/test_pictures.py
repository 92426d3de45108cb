from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from voiceguard.audio import RATE_HZ, decode
from voiceguard.evidence.pictures import draw_screening, save_png
from voiceguard.screening import Screener, Screening


@pytest.fixture(scope="module")
def screener() -> Screener:
    return Screener.load()


def draw(screener: Screener, path: Path, output: Path, title: str = "a call") -> tuple[Screening, np.ndarray]:
    recording = decode(path)
    screening = screener.screen_recording(recording)
    save_png(draw_screening(recording, screening, title=title), output)
    return screening, imread(output)


def test_picture_has_three_panels_a_channel(screener: Screener, audio_samples: Path, tmp_path: Path):
    (call,) = audio_samples.glob("dual-channel-*.wav")
    recording = decode(call)
    screening = screener.screen_recording(recording)
    figure = draw_screening(recording, screening, title="a call")
    assert len(figure.axes) == 6
    for channel, axes in zip(screening.channels, figure.axes[2::3], strict=True):
        labels = " ".join(text.get_text() for text in axes.get_legend().get_texts())
        assert "flag" in labels
        assert "review" in labels
        drawn = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) != [0, 1]]
        assert drawn == [window.score for window in channel.windows]


def test_same_recording_same_bytes(screener: Screener, audio_samples: Path, tmp_path: Path):
    clip = audio_samples / "ringing-ulaw.wav"
    for name in ("one.png", "two.png"):
        draw(screener, clip, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("title", ["$x_{", "50 % $ off $.wav", "通話.wav", "caf\udce9.wav", "a\n\x1bb.wav"])
def test_any_file_name_can_be_a_title(screener: Screener, audio_samples: Path, tmp_path: Path, title: str):
    _, pixels = draw(screener, audio_samples / "ringing-ulaw.wav", tmp_path / "a.png", title)
    assert pixels.std() > 0.05


@pytest.mark.parametrize("length", [1, 79, 300, 8000])
def test_hardly_any_audio(screener: Screener, tmp_path: Path, length: int):
    path = tmp_path / "a.ulaw"
    path.write_bytes(bytes(range(128, 256)) * (length // 128) + bytes(length % 128))
    screening, pixels = draw(screener, path, tmp_path / "a.png")
    assert screening.duration_s == length / RATE_HZ
    assert pixels.shape[1] > 1000


def test_long_recording_is_drawn_with_bounded_detail(screener: Screener, audio_samples: Path, tmp_path: Path):
    path = tmp_path / "long.ulaw"
    samples = decode(sorted(audio_samples.glob("human-*-ulaw.wav"))[0]).channels[0]
    path.write_bytes(bytes(np.clip(samples * 127 + 128, 0, 255).astype(np.uint8)) * 10)
    recording = decode(path)
    figure = draw_screening(recording, screener.screen_recording(recording), title="long")
    (image,) = figure.axes[1].images
    assert image.get_array().shape[1] < 2000
