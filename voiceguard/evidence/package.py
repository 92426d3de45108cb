"""Sealed packages: everything about a call in one file that a stranger can check.

The same calls give the same bytes, whenever and how often the package is made: all dates in it are those of
the audit rows, pictures and documents are drawn by fixed rules, and the container has one form.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import io
import json
import platform
import re
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

import voiceguard
from voiceguard.audio import RATE_HZ, Limits, Recording, decode
from voiceguard.detector import RECORD_FILE
from voiceguard.errors import EvidenceError
from voiceguard.evidence.certification import certification
from voiceguard.evidence.container import Entry, Writer
from voiceguard.evidence.cues import Cues, measure_cues
from voiceguard.evidence.document import Document
from voiceguard.evidence.dossier import Dossier, Exhibit
from voiceguard.evidence.findings import Shown
from voiceguard.evidence.html import write_html
from voiceguard.evidence.pdf import write_pdf
from voiceguard.evidence.pictures import draw_screening, save_png
from voiceguard.evidence.report import report
from voiceguard.screening import Screening
from voiceguard.store.audit import canonical
from voiceguard.store.commitments import call_facts, screening_facts
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey
from voiceguard.verdict import Calibration

TYPE = "voiceguard evidence"
SCHEMA = 1
MANIFEST, SIGNATURE, SUMS, KEY = "manifest.json", "manifest.sig", "SHA256SUMS", "public-key.pem"
ROWS, PROOF, SOFTWARE = "audit/rows.jsonl", "audit/proof.json", "software.json"
_PICTURE_WIDTH_IN, _PICTURE_DPI = 8.0, 200
_MADE_WITH = ("numpy", "soundfile", "av", "soxr", "librosa", "matplotlib", "fpdf2", "pillow", "jinja2")
_LIMITS = Limits()


@dataclass(frozen=True)
class Made:
    """A package that was written."""

    sha256: str
    size_bytes: int
    files: int


class _Tee:
    """Hashes what is written through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)


def make(dossier: Dossier, recordings: Recordings, key: SigningKey, file: BinaryIO) -> Made:
    """Write the package of a dossier to a binary file.

    Raises
    ------
    EvidenceError
        A recording in the store is not the one that was received, or the package would be too large.
    RecordingMissing, RecordingsUnavailable
        A recording can't be read.
    """
    tee = _Tee(file)
    writer = Writer(tee)  # type: ignore[arg-type]
    try:
        _write(writer, dossier, recordings, key)
    except ValueError as error:
        raise EvidenceError(str(error)) from error
    return Made(tee.hash.hexdigest(), tee.size_bytes, len(writer.entries))


def _write(writer: Writer, dossier: Dossier, recordings: Recordings, key: SigningKey) -> None:
    fingerprint = key.public.fingerprint
    writer.add("README.txt", _readme(dossier, fingerprint))
    shown = [_write_call(writer, one, dossier, recordings) for one in dossier.exhibits]
    for name, document in (
        ("report", report(dossier, shown, fingerprint=fingerprint)),
        ("certification", certification(dossier, fingerprint=fingerprint)),
    ):
        _write_document(writer, name, document, dossier)
    writer.add(ROWS, "".join(row.entry + "\n" for row in dossier.rows).encode())
    writer.add(PROOF, _json(_proof(dossier)))
    for model, files in dossier.models.items():
        for name, data in files.items():
            writer.add(f"{model_folder(model)}/{name}", data)
    writer.add(SOFTWARE, _json(_software(dossier)))
    writer.add(KEY, key.public.pem)
    manifest = _json(_manifest(dossier, writer.entries, fingerprint))
    listed = list(writer.entries)
    listed.append(writer.add(MANIFEST, manifest))
    listed.append(writer.add(SIGNATURE, key.sign(manifest)))
    writer.add(SUMS, sums({entry.name: entry.sha256 for entry in listed}))
    writer.close()


def _write_call(writer: Writer, one: Exhibit, dossier: Dossier, recordings: Recordings) -> Shown:
    call, screening = one.call, one.screening
    folder = f"calls/{call.id}"
    data = recordings.read(screening.sha256)
    found = hashlib.sha256(data).hexdigest()
    if found != screening.sha256:
        raise EvidenceError(
            f"Expected the recording {screening.sha256} in the store, got {found} in its place."
        )
    original = original_name(screening)
    recording = decode(data, name=original, limits=_LIMITS)
    writer.add(f"{folder}/{original}", data)
    writer.add(f"{folder}/working-copy.wav", working_copy(recording))
    picture = io.BytesIO()
    figure = draw_screening(recording, screening, title=call.id, width_in=_PICTURE_WIDTH_IN, dpi=_PICTURE_DPI)
    save_png(figure, picture)
    writer.add(f"{folder}/picture.png", picture.getvalue())
    writer.add(f"{folder}/call.json", canonical(call_facts(call, screening.sha256)).encode())
    writer.add(f"{folder}/screening.json", canonical(screening_facts(screening)).encode())
    if call.identity:
        writer.add(f"{folder}/identity.txt", call.identity.encode())
    if call.passports:
        writer.add(f"{folder}/passports.json", _json(call.passports))
    model = dossier.models[screening.model]
    calibration = Calibration(**json.loads(model[RECORD_FILE])["calibration"])
    evaluation = model.get("evaluation.json")
    return Shown(one, calibration, evaluation, picture.getvalue(), _cues(recording, screening))


def _cues(recording: Recording, screening: Screening) -> Cues | None:
    decision = screening.decision
    return measure_cues(recording.channels[decision.channel], decision.speech) if decision.speech else None


def _write_document(writer: Writer, name: str, document: Document, dossier: Dossier) -> None:
    writer.add(f"{name}.pdf", write_pdf(document, at=dossier.as_of))
    writer.add(f"{name}.html", write_html(document))


def original_name(screening: Screening) -> str:
    """Return the name of a recording in the package; of a headerless one it says how to decode it."""
    suffix = re.sub(r"[^a-z0-9]", "", screening.container.lower()) or "bin"
    if screening.container == "raw":
        bits = round(8 * screening.size_bytes / (screening.duration_s * screening.rate_hz))
        suffix = {
            "g711_ulaw": "ulaw",
            "g711_alaw": "alaw",
            "pcm_s16le": "sln" if screening.rate_hz == 8000 else f"sln{screening.rate_hz // 1000}",
            "g726": f"g726-{8 * bits}",
        }.get(screening.codec, screening.codec)
    return f"original.{suffix}"


def working_copy(recording: Recording) -> bytes:
    """Return a recording as the detector hears it, as a WAV file of 16-bit samples."""
    length = max(len(channel) for channel in recording.channels)
    samples = np.zeros((length, len(recording.channels)), dtype="<i2")
    for index, channel in enumerate(recording.channels):
        samples[: len(channel), index] = np.clip(np.rint(channel * 32768.0), -32768, 32767)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def model_folder(model: str) -> str:
    """Return the folder of a model in the package."""
    return (
        f"models/{model}"
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", model)
        else (f"models/{hashlib.sha256(model.encode()).hexdigest()}")
    )


def sums(hashes: Mapping[str, str]) -> bytes:
    """Return what ``sha256sum`` writes of these files."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items()).encode()


def _proof(dossier: Dossier) -> dict[str, Any]:
    return {
        "checkpoints": [dataclasses.asdict(one) for one in dossier.checkpoints],
        "rows": [dataclasses.asdict(one) for one in dossier.proofs],
    }


def _software(dossier: Dossier) -> dict[str, Any]:
    made = {name: importlib.metadata.version(name) for name in _MADE_WITH}
    return {
        "screened_with": {one.screening.model: dict(one.software) for one in dossier.exhibits},
        "package_made_with": {
            "voiceguard": voiceguard.__version__,
            "python": platform.python_version(),
            "packages": made,
        },
    }


def _manifest(dossier: Dossier, entries: list[Entry], fingerprint: str) -> dict[str, Any]:
    return {
        "type": TYPE,
        "schema": SCHEMA,
        "subject": {"kind": dossier.subject.kind, "id": dossier.subject.id},
        "as_of": dossier.rows[-1].fields["at"],
        "calls": [
            {"id": one.call.id, "original": f"calls/{one.call.id}/{original_name(one.screening)}"}
            for one in dossier.exhibits
        ],
        "signing_key": fingerprint,
        "files": [
            {"name": entry.name, "size_bytes": entry.size_bytes, "sha256": entry.sha256} for entry in entries
        ],
    }


def _readme(dossier: Dossier, fingerprint: str) -> bytes:
    as_of = dossier.as_of.strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        _template("README.txt.j2")
        .render(subject=dossier.subject, as_of=as_of, fingerprint=fingerprint)
        .encode()
    )


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("voiceguard.evidence"),
        autoescape=False,  # noqa: S701 (plain text)
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
