"""Robocalls spoken by free engines: one text in many voices, with many names, and many texts in one voice.

The engines are Debian's ``espeak-ng`` and ``flite``. They are deterministic: the sentences that two texts share
come out sample for sample the same, which is the hardest case for telling two recordings apart.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from voiceguard.audio import RATE_HZ

NAMES = [
    "Anna Bell",
    "Peter Hale",
    "Maria Gonzalez",
    "John Smith",
    "Wei Chen",
    "Olivia Brown",
    "Ahmed Khan",
    "Rosa Diaz",
    "Tom Ford",
    "Christopher Nolan",
    "Elizabeth Montgomery",
    "Bob Lee",
    "Priya Patel",
    "Hans Weber",
    "Grace Kim",
    "Luke Shaw",
    "Emma Stone",
    "Victor Hugo",
    "Nina Ricci",
    "Samuel Okafor",
]
COMPANIES = [
    "First National Bank",
    "Green Valley Power",
    "the Harlow County Court",
    "Sunrise Solar",
    "Cardinal Health Plan",
    "the Auto Warranty Center",
    "Lakeside Pharmacy",
    "the Tax Resolution Office",
    "Summit Travel",
    "Northwind Insurance",
]
REASONS = (
    "your account has been suspended because of unusual activity",
    "the warranty on your vehicle is about to expire",
    "your electricity will be disconnected within the next thirty minutes",
    "you have been selected for a free vacation for two on a sunny island",
    "there is a warrant for your arrest because of unpaid taxes",
    "you qualify for a lower interest rate on all of your credit cards",
    "your prescription is ready and your insurance details must be confirmed",
    "a purchase of nine hundred dollars was made with your card this morning",
    "the polls in your town open on Tuesday and the rules have changed",
    "your computer has been sending us error messages for several days",
    "your student loan can be forgiven if you apply before the end of the month",
    "a package in your name is being held at the border by the customs office",
)
ASKS = (
    "Please call us back today to avoid any further charges.",
    "To speak with an agent who can help you, press one now.",
    "Have your card and your date of birth ready when you call.",
    "Do not share this message with anyone until the matter is settled.",
    "This offer ends tonight and it will not be repeated.",
    "If you do nothing, the fee will be taken from your account automatically.",
    "Our office is open from eight in the morning until nine at night.",
    "A senior officer has been assigned to your case and is waiting for you.",
)
VOICES = (
    *(
        ("espeak-ng", f"en-us+{name}")
        for name in ("m1", "m3", "m5", "m7", "f1", "f2", "f3", "f4", "croak", "klatt2")
    ),
    *(("espeak-ng", name) for name in ("en-gb", "en-gb-scotland")),
    *(("flite", name) for name in ("slt", "kal")),
)


@dataclass(frozen=True)
class Spoken:
    """One text in one voice. Recordings of one ``script`` and voice differ in the names only."""

    engine: str
    voice: str
    script: int
    text: str

    def read(self, cache: Path) -> np.ndarray:
        """Speak the text, or read what was spoken before; shape (n,), float32, at 8 kHz."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        path = cache / f"{self.engine}-{self.voice}-{self.script}-{digest}.flac"
        if not path.exists():
            soundfile.write(path, _speak(self.engine, self.voice, self.text), RATE_HZ, subtype="PCM_16")
        return np.asarray(soundfile.read(path, dtype="float32")[0])


def robocalls(count: int, variants: int, seed: int) -> list[Spoken]:
    """Write ``count`` texts: scripts in turn over the voices, each with up to ``variants`` sets of names.

    Names stand at the beginning, in the middle and near the end of a script; ``seed`` draws them.
    """
    rng = np.random.default_rng(seed)
    made: list[Spoken] = []
    drawn: set[tuple[str, str]] = set()
    script = 0
    while len(made) < count:
        engine, voice = VOICES[script % len(VOICES)]
        # Every voice says the same scripts, so that one text is there in many voices too.
        words = np.random.default_rng([seed + 4, script // len(VOICES)])  # apart from what draws the names
        reason = str(words.choice(REASONS))
        asks = [str(ask) for ask in words.choice(ASKS, 2, replace=False)]
        for _ in range(variants):
            first, second = rng.choice(NAMES, 2, replace=False)
            company, other = rng.choice(COMPANIES, 2, replace=False)
            text = (
                f"Hello {first}, this is {second} from {company}. We are calling because {reason}. {asks[0]} "
                f"Again, this is {second} for {first}. {asks[1]} Thank you from {other}."
            )
            if (voice, text) not in drawn:  # the same names once more would be a copy
                drawn.add((voice, text))
                made.append(Spoken(engine, voice, script, text))
        script += 1
    return made[:count]


def greeted(count: int) -> list[tuple[Spoken, Spoken]]:
    """Write pairs of texts that differ in "Hello <name>," alone, which makes them one campaign."""
    rng = np.random.default_rng(13)
    pairs = []
    for number in range(count):
        engine, voice = VOICES[number % len(VOICES)]
        asks = " ".join(str(ask) for ask in rng.choice(ASKS, 2, replace=False))
        message = f"{str(rng.choice(REASONS)).capitalize()}. {asks}"
        first, second = rng.choice(NAMES, 2, replace=False)
        a, b = (Spoken(engine, voice, 10_000 + number, f"Hello {who}. {message}") for who in (first, second))
        pairs.append((a, b))
    return pairs


def _speak(engine: str, voice: str, text: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        if engine == "flite":
            command = ["flite", "-voice", voice, "-t", text, "-o", str(path)]
        else:
            command = ["espeak-ng", "-v", voice, "-s", "160", "-w", str(path), text]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate_hz = soundfile.read(path, dtype="float32")
    return soxr.resample(samples, rate_hz, RATE_HZ).astype(np.float32)
