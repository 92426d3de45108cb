"""Verifying a package offline, from the package alone.

The steps, with the numbers that stand in the code and that the command prints:

1. The container is a zip file exactly as VoiceGuard writes it: each header, no byte beside them.
2. The manifest is signed with the key in the package.
3. That key is the one that the verifier expects. Without one given, the step is left out: a key inside the
   package shows that nothing was changed since somebody with that key sealed it, not who that was.
4. Every file is the one that the manifest names: none changed, missing or added.
5. Every audit row has its hash, and is covered by a signed checkpoint; a timestamp is over its checkpoint.
6. Recording, call and screening are those that the audit rows name.
7. On demand: the model in the package gives the recording the score in the package.

The first step that fails ends the verification, for later ones would judge what is known to be wrong. Nothing in
the package is run. The model and the recording are opened in step 7 only, by the reader's own software.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509

from voiceguard.errors import VoiceGuardError
from voiceguard.evidence import container, package
from voiceguard.evidence.container import ContainerError, Entry
from voiceguard.store import merkle
from voiceguard.store.audit import Action, Row, canonical, digest
from voiceguard.store.audit_verify import check_row, check_timestamp, read_statement
from voiceguard.store.checkpoints import Checkpoint
from voiceguard.store.signing import PublicKey

SCORE_TOLERANCE = 1e-6
MAX_TEXT_BYTES = 256 << 20
"""Most bytes of a file that is read as JSON."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Failed(Exception):
    """A step failed; each finding names a file or a row."""

    def __init__(self, *findings: str) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


@dataclass(frozen=True)
class Step:
    """What came of one step."""

    number: int
    title: str
    state: str
    """``ok``, ``failed`` or ``left out``."""
    details: tuple[str, ...]


@dataclass
class _Package:
    """What is known of a package so far."""

    file: BinaryIO
    entries: dict[str, Entry] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    key: PublicKey | None = None
    rows: dict[int, Row] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        entry = self.entries.get(name)
        if entry is None:
            raise Failed(f"{name}: missing")
        return container.content(self.file, entry)

    def json(self, name: str) -> Any:
        """Read a file as JSON; only after its bytes were verified, so that a failure is the sealer's."""
        if name in self.entries and self.entries[name].size_bytes > MAX_TEXT_BYTES:
            raise Failed(f"{name}: larger than it may be")
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise Failed(f"{name}: is no JSON: {error}") from error


def verify(
    path: Path,
    *,
    key: str | PublicKey | None = None,
    roots: list[x509.Certificate] | None = None,
    rescore: bool = False,
) -> Iterator[Step]:
    """Verify a package; yield what came of each step, up to the first that failed.

    Parameters
    ----------
    path
        The package.
    key
        The signing key, or its fingerprint, as the sender gave it by another way.
    roots
        Root certificates of the time-stamping authority; without them its word is not checked.
    rescore
        Whether to do step 7.

    Raises
    ------
    OSError
        The file can't be read.
    """
    with path.open("rb") as file:
        found = _Package(file)
        steps: list[tuple[str, Callable[[], list[str]] | None]] = [
            ("container", lambda: _container(found)),
            ("signature", lambda: _signature(found)),
            ("signer", None if key is None else lambda: _signer(found, key)),
            ("files", lambda: _files(found)),
            ("audit rows", lambda: _audit(found, roots)),
            ("calls", lambda: _calls(found)),
            ("score", (lambda: _rescore(found)) if rescore else None),
        ]
        for number, (title, work) in enumerate(steps, 1):
            if work is None:
                yield Step(number, title, "left out", (_LEFT_OUT[title],))
                continue
            try:
                details = work()
            except Failed as failed:
                yield Step(number, title, "failed", failed.findings)
                return
            yield Step(number, title, "ok", tuple(details))


_LEFT_OUT = {
    "signer": "compare the fingerprint above with the sender's, got by another way, or give it: --key FINGERPRINT",
    "score": "--rescore computes it anew",
}


def _container(found: _Package) -> list[str]:
    try:
        entries = container.read(found.file)
    except ContainerError as error:
        raise Failed(f"{error.where}: {error.what}") from error
    found.entries = {entry.name: entry for entry in entries}
    return [f"{len(entries)} files, {sum(entry.size_bytes for entry in entries):,} bytes"]


def _signature(found: _Package) -> list[str]:
    try:
        key = PublicKey.from_pem(found.read(package.KEY))
    except ValueError as error:
        raise Failed(f"{package.KEY}: is no Ed25519 public key") from error
    if not key.verifies(found.read(package.SIGNATURE), found.read(package.MANIFEST)):
        raise Failed(
            f"{package.MANIFEST}: was not signed so with {package.KEY}: one of the three was changed"
        )
    manifest = found.json(package.MANIFEST)
    if (manifest.get("type"), manifest.get("schema")) != (package.TYPE, package.SCHEMA):
        raise Failed(f"{package.MANIFEST}: is of a kind that this version does not know")
    found.key, found.manifest = key, manifest
    return [f"Ed25519, fingerprint {key.fingerprint}"]


def _signer(found: _Package, key: str | PublicKey) -> list[str]:
    assert found.key is not None
    wanted = key.fingerprint if isinstance(key, PublicKey) else re.sub(r"[\s:]", "", key).lower()
    if not _FINGERPRINT.fullmatch(wanted) or wanted != found.key.fingerprint:
        raise Failed(f"{package.KEY}: expected fingerprint {wanted}, got {found.key.fingerprint}")
    return ["is the key that you gave"]


def _files(found: _Package) -> list[str]:
    named = {one["name"]: one for one in found.manifest["files"]}
    beside = {package.MANIFEST, package.SIGNATURE, package.SUMS}
    wrong = [f"{name}: missing" for name in [*named, *beside] if name not in found.entries]
    wrong += [
        f"{name}: added, the manifest does not name it"
        for name in found.entries
        if name not in named and name not in beside
    ]
    hashes = {}
    for name, entry in found.entries.items():
        sha256, crc32, size = hashlib.sha256(), 0, 0
        for piece in container.chunks(found.file, entry):
            sha256.update(piece)
            crc32 = zlib.crc32(piece, crc32)
            size += len(piece)
        hashes[name] = sha256.hexdigest()
        as_named = name not in named or (named[name]["sha256"], named[name]["size_bytes"]) == (
            hashes[name],
            size,
        )
        if crc32 != entry.crc32 or not as_named:
            wrong.append(f"{name}: changed")
    listed = [*named, package.MANIFEST, package.SIGNATURE]
    if not wrong and found.read(package.SUMS) != package.sums({name: hashes[name] for name in listed}):
        wrong.append(f"{package.SUMS}: changed")
    if wrong:
        raise Failed(*wrong)
    return [f"{len(found.entries)} files, none changed, missing or added"]


def _audit(found: _Package, roots: list[x509.Certificate] | None) -> list[str]:
    proof = found.json(package.PROOF)
    lines = found.read(package.ROWS).decode("utf-8", "replace").splitlines()
    try:
        paths = {one["seq"]: one for one in proof["rows"]}
        checkpoints = {one["number"]: Checkpoint(**one) for one in proof["checkpoints"]}
        if len(paths) != len(lines) or sorted(paths) != [one["seq"] for one in proof["rows"]]:
            raise Failed(f"{package.PROOF}: does not prove each row once, in order")
        for line, seq in zip(lines, paths, strict=True):
            found.rows[seq] = _row(line, paths[seq], checkpoints)
        details = [_checkpoint(found, one, roots) for one in checkpoints.values()]
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"{package.PROOF}: is not as VoiceGuard writes it: {error!r}") from error
    by_hash = {row.hash: row.seq for row in found.rows.values()}
    for row in found.rows.values():
        before = by_hash.get(row.fields["previous"])
        if (before is None and row.seq - 1 in found.rows) or before not in (None, row.seq - 1):
            raise Failed(f"{package.ROWS}: row {row.seq} does not follow row {row.seq - 1}")
    return [f"{len(found.rows)} rows", *details]


def _row(line: str, proof: dict[str, Any], checkpoints: dict[int, Checkpoint]) -> Row:
    row = Row(proof["seq"], line, digest(line))
    if check_row(row) is not None:
        raise Failed(f"{package.ROWS}: row {row.seq} was changed")
    checkpoint = checkpoints[proof["checkpoint"]]
    fields = read_statement(checkpoint)
    if fields is None:
        raise Failed(f"{package.PROOF}: checkpoint {checkpoint.number} was changed")
    root = merkle.root_from_path(
        bytes.fromhex(row.hash),
        row.seq - fields["first_seq"],
        fields["last_seq"] - fields["first_seq"] + 1,
        [bytes.fromhex(step) for step in proof["path"]],
    )
    if root is None or root.hex() != fields["root"]:
        raise Failed(f"{package.ROWS}: row {row.seq} is not among those of checkpoint {checkpoint.number}")
    return row


def _checkpoint(found: _Package, checkpoint: Checkpoint, roots: list[x509.Certificate] | None) -> str:
    fields = read_statement(checkpoint)
    name = f"checkpoint {checkpoint.number}"
    if fields is None:
        raise Failed(f"{package.PROOF}: {name} was changed")
    said = f"{name}: signed {fields['at']}"
    if checkpoint.key != found.key:
        # The key may have been replaced since, or each machine has its own: the package's signer vouches for it.
        said += f" with another key, fingerprint {checkpoint.key.fingerprint}"
    if checkpoint.timestamp_token is None:
        return f"{said}, no timestamp of an authority"
    if wrong := check_timestamp(checkpoint, roots):
        raise Failed(f"{package.PROOF}: {name}: {wrong}")
    return said + (
        ", timestamp checked" if roots else ", with a timestamp (give --timestamp-roots to check it)"
    )


def _calls(found: _Package) -> list[str]:
    if not found.manifest["calls"]:
        raise Failed(f"{package.MANIFEST}: names no call")
    return [_call(found, one["id"], one["original"]) for one in found.manifest["calls"]]


def _call(found: _Package, call_id: str, original: str) -> str:
    folder = f"calls/{call_id}"
    said = {
        row.fields["action"]: row.fields["data"]
        for row in found.rows.values()
        if row.fields["object"] == call_id
        and row.fields["action"] in (Action.CALL_RECEIVED, Action.CALL_SCREENED)
    }
    if len(said) != 2:
        raise Failed(f"{package.ROWS}: no rows that say that {call_id} was received and screened")
    received, screened = said[Action.CALL_RECEIVED], said[Action.CALL_SCREENED]
    for name, expected in (
        (original, received["recording_sha256"]),
        (f"{folder}/call.json", received["call_sha256"]),
        (f"{folder}/screening.json", screened["screening_sha256"]),
    ):
        if hashlib.sha256(found.read(name)).hexdigest() != expected:
            raise Failed(f"{name}: is not what the audit log says of {call_id}")
    call = found.json(f"{folder}/call.json")
    if (call["id"], call["recording_sha256"]) != (call_id, received["recording_sha256"]):
        raise Failed(f"{folder}/call.json: is of another call or recording")
    return f"{call_id}: recording, call and screening as received {call['received_at']}"


def _rescore(found: _Package) -> list[str]:
    return [_rescore_call(found, one["id"], one["original"]) for one in found.manifest["calls"]]


def _rescore_call(found: _Package, call_id: str, original: str) -> str:
    import dataclasses

    from voiceguard.audio import decode
    from voiceguard.detector import GRAPH_FILE, NETWORK_FILE, RECORD_FILE
    from voiceguard.screening import Screener

    folder = f"calls/{call_id}"
    packaged = found.json(f"{folder}/screening.json")
    call = found.json(f"{folder}/call.json")
    model = package.model_folder(packaged["model"])
    data = found.read(original)
    try:
        with tempfile.TemporaryDirectory() as place:
            for name in (GRAPH_FILE, NETWORK_FILE, RECORD_FILE):
                if name != NETWORK_FILE or f"{model}/{name}" in found.entries:
                    (Path(place) / name).write_bytes(found.read(f"{model}/{name}"))
            screener = Screener.load(Path(place))
            recording = decode(data, name=Path(original).name)
            again = screener.screen_recording(recording, call["remote_channel"])
    except VoiceGuardError as error:
        raise Failed(f"{original}: can't be screened here: {error}") from error
    computed = json.loads(canonical(dataclasses.asdict(again)))
    if difference := _difference(packaged, computed):
        raise Failed(f"{folder}/screening.json: {difference}")
    if found.read(f"{folder}/working-copy.wav") != package.working_copy(recording):
        return f"{call_id}: the same score; the working copy differs, as another decoder's may"
    return f"{call_id}: the same score, to {SCORE_TOLERANCE:g}"


def _difference(packaged: Any, computed: Any, at: str = "") -> str | None:
    """Say where two screenings differ: numbers by more than the tolerance, all else at all."""
    if isinstance(packaged, dict) and isinstance(computed, dict) and packaged.keys() == computed.keys():
        pairs = [(f"{at}.{name}", packaged[name], computed[name]) for name in packaged]
    elif isinstance(packaged, list) and isinstance(computed, list) and len(packaged) == len(computed):
        pairs = [(f"{at}[{index}]", *pair) for index, pair in enumerate(zip(packaged, computed, strict=True))]
    elif (
        isinstance(packaged, int | float)
        and isinstance(computed, int | float)
        and abs(packaged - computed) <= SCORE_TOLERANCE
    ) or packaged == computed:
        return None
    else:
        return f"{at.lstrip('.')} is {packaged!r} there, {computed!r} here"
    return next((found for name, a, b in pairs if (found := _difference(a, b, name))), None)
