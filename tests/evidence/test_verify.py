from __future__ import annotations

import dataclasses
import io
import json
import random
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evidence.conftest import Archive, Sealed
from tests.openssl import needs_openssl
from voiceguard.evidence import container, package
from voiceguard.evidence.container import Writer
from voiceguard.evidence.verify import Step, verify
from voiceguard.screening import Screening
from voiceguard.store import audit
from voiceguard.store.engine import reading
from voiceguard.store.signing import SigningKey

SEED = 20240208
FLIPS = 150
Files = dict[str, bytes]


def unpack(data: bytes) -> Files:
    file = io.BytesIO(data)
    return {one.name: container.content(file, one) for one in container.read(file)}


def pack(files: Files) -> bytes:
    out = io.BytesIO()
    writer = Writer(out)
    for name, data in files.items():
        writer.add(name, data)
    writer.close()
    return out.getvalue()


def reseal(files: Files, key: SigningKey) -> Files:
    """Seal files anew, as somebody with a key of his own can."""
    outer = (package.MANIFEST, package.SIGNATURE, package.SUMS)
    kept = {name: data for name, data in files.items() if name not in outer} | {package.KEY: key.public.pem}
    hashes = {name: audit.digest(data) for name, data in kept.items()}
    manifest = json.loads(files[package.MANIFEST])
    manifest["files"] = [
        {"name": name, "size_bytes": len(data), "sha256": hashes[name]} for name, data in kept.items()
    ]
    text = json.dumps(manifest).encode()
    signature = key.sign(text)
    hashes |= {package.MANIFEST: audit.digest(text), package.SIGNATURE: audit.digest(signature)}
    return kept | {package.MANIFEST: text, package.SIGNATURE: signature, package.SUMS: package.sums(hashes)}


def steps(data: bytes, folder: Path, **options: object) -> list[Step]:
    path = folder / "package.zip"
    path.write_bytes(data)
    return list(verify(path, **options))  # type: ignore[arg-type]


def failure(data: bytes, folder: Path, **options: object) -> tuple[int, str]:
    """Return number and findings of the step that fails, which is the last one."""
    found = steps(data, folder, **options)
    assert [one.state for one in found[:-1]].count("failed") == 0
    assert found[-1].state == "failed", found
    return found[-1].number, "; ".join(found[-1].details)


def test_a_package_verifies_and_its_score_can_be_computed_anew(archive: Archive, sealed: Sealed) -> None:
    found = list(verify(sealed.path, key=archive.key.public.fingerprint, rescore=True))
    assert [(one.number, one.title, one.state) for one in found] == [
        (1, "container", "ok"),
        (2, "signature", "ok"),
        (3, "signer", "ok"),
        (4, "files", "ok"),
        (5, "audit rows", "ok"),
        (6, "calls", "ok"),
        (7, "score", "ok"),
    ]
    assert found[-1].details == (f"{sealed.call_id}: the same score, to 1e-06",)


def test_made_twice_it_is_the_same_and_both_are_in_the_log(
    archive: Archive, sealed: Sealed, tmp_path: Path
) -> None:
    again = archive.make(sealed.call_id, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == sealed.data
    with reading(archive.engine) as connection:
        rows = [row.fields for row in audit.rows_of(connection, [sealed.call_id])]
    made = [row["data"]["package_sha256"] for row in rows if row["action"] == "evidence.made"]
    assert made[-2:] == [sealed.made.sha256, again.sha256]
    assert audit.digest(sealed.data) == again.sha256


def test_without_a_key_the_signer_is_left_open(sealed: Sealed) -> None:
    found = {one.title: one for one in verify(sealed.path)}
    assert found["signer"].state == "left out"
    assert "--key" in found["signer"].details[0]
    assert found["calls"].state == "ok"


def test_every_flipped_bit_is_found_and_its_file_named(sealed: Sealed, tmp_path: Path) -> None:
    random_ = random.Random(SEED)
    entries = container.read(io.BytesIO(sealed.data))
    # Half of the flips in the small files and in zip's own headers, which chance alone would hardly hit.
    small = [one for one in entries if one.size_bytes < 10_000]
    for number in range(FLIPS):
        data = bytearray(sealed.data)
        if number % 2:
            at = random_.randrange(len(data))
        else:
            chosen = random_.choice(small)
            at = random_.choice(
                [
                    random_.randrange(chosen.header_at, chosen.end),
                    random_.randrange(entries[-1].end, len(data)),
                ]
            )
        data[at] ^= 1 << random_.randrange(8)
        step, named = failure(bytes(data), tmp_path)
        inside = next((one.name for one in entries if one.data_at <= at < one.end), None)
        assert inside is None or step == 2 or inside in named, (at, step, named)


@pytest.mark.parametrize(
    ("change", "step", "named"),
    [
        (lambda files, call: files.pop(f"calls/{call}/original.wav"), 4, "original.wav: missing"),
        (lambda files, call: files.pop("SHA256SUMS"), 4, "SHA256SUMS: missing"),
        (lambda files, call: files.pop("manifest.sig"), 2, "manifest.sig: missing"),
        (lambda files, call: files.update({"more.txt": b""}), 4, "more.txt: added"),
        (lambda files, call: files.update({"report2.pdf": files.pop("report.pdf")}), 4, "report2.pdf: added"),
        (
            lambda files, call: files.update({"SHA256SUMS": files["SHA256SUMS"] + b"\n"}),
            4,
            "SHA256SUMS: changed",
        ),
        (lambda files, call: files.update({"report.pdf": b"%PDF-1.4 nothing"}), 4, "report.pdf: changed"),
        (lambda files, call: files.update({"public-key.pem": b"nothing"}), 2, "public-key.pem"),
        (lambda files, call: files.update({"manifest.json": b"{}"}), 2, "manifest.json"),
    ],
)
def test_a_missing_added_renamed_or_replaced_file_is_named(
    sealed: Sealed, tmp_path: Path, change: Callable[[Files, str], object], step: int, named: str
) -> None:
    files = unpack(sealed.data)
    change(files, sealed.call_id)
    found = failure(pack(files), tmp_path)
    assert (found[0], named in found[1]) == (step, True), found


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    out = io.BytesIO(sealed.data)
    with zipfile.ZipFile(out, "a") as file:
        file.writestr("report.pdf", b"another report")
    assert failure(out.getvalue(), tmp_path)[0] == 1


def test_a_package_sealed_by_somebody_else_is_told_by_the_key(
    archive: Archive, sealed: Sealed, tmp_path: Path
) -> None:
    thief = SigningKey.generate()
    data = pack(reseal(unpack(sealed.data), thief))
    assert steps(data, tmp_path)[-1].state == "left out"
    for key in (archive.key.public, archive.key.public.fingerprint, archive.key.public.fingerprint.upper()):
        step, named = failure(data, tmp_path, key=key)
        assert (step, archive.key.public.fingerprint in named) == (3, True)
    assert failure(sealed.data, tmp_path, key="nonsense")[0] == 3


def _change_row(files: Files, call: str) -> None:
    files[package.ROWS] = files[package.ROWS].replace(b'"actor":"key_1"', b'"actor":"key_2"')


def _drop_row(files: Files, call: str) -> None:
    files[package.ROWS] = b"".join(files[package.ROWS].splitlines(keepends=True)[:-1])


def _forge_checkpoint(files: Files, call: str) -> None:
    proof = json.loads(files[package.PROOF])
    proof["checkpoints"][0]["statement"] = proof["checkpoints"][0]["statement"].replace("2026", "2025")
    files[package.PROOF] = json.dumps(proof).encode()


def _empty_proof(files: Files, call: str) -> None:
    files[package.PROOF] = b'{"checkpoints": [], "rows": []}'
    files[package.ROWS] = b""


@pytest.mark.parametrize(
    ("change", "step", "named"),
    [
        (_change_row, 5, "rows.jsonl"),
        (_drop_row, 5, "proof.json"),
        (_forge_checkpoint, 5, "checkpoint"),
        (_empty_proof, 6, "no rows"),
        (lambda files, call: files.update({package.PROOF: b"[]"}), 5, "proof.json"),
        (
            lambda files, call: files.update(
                {f"calls/{call}/call.json": files[f"calls/{call}/call.json"].replace(b"+1202", b"+1303")}
            ),
            6,
            "call.json",
        ),
        (
            lambda files, call: files.update(
                {
                    f"calls/{call}/screening.json": files[f"calls/{call}/screening.json"].replace(
                        b"hu", b"xx", 1
                    )
                    + b" "
                }
            ),
            6,
            "screening.json",
        ),
        (lambda files, call: files.update({f"calls/{call}/original.wav": b"RIFF"}), 6, "original.wav"),
    ],
)
def test_what_the_audit_log_does_not_say_fails_even_under_a_good_seal(
    sealed: Sealed, tmp_path: Path, change: Callable[[Files, str], object], step: int, named: str
) -> None:
    files = unpack(sealed.data)
    change(files, sealed.call_id)
    found = failure(pack(reseal(files, SigningKey.generate())), tmp_path)
    assert (found[0], named in found[1]) == (step, True), found


def test_a_score_that_the_model_does_not_give_is_found(archive: Archive, tmp_path: Path) -> None:
    def _higher(screening: Screening) -> Screening:
        channel = screening.channels[0]
        assert channel.score is not None
        return dataclasses.replace(
            screening, channels=(dataclasses.replace(channel, score=channel.score + 1e-5),)
        )

    path = tmp_path / "false.zip"
    archive.make(archive.store(alter=_higher), path)
    assert [one.state for one in verify(path)][-1] == "left out"
    last = list(verify(path, rescore=True))[-1]
    assert (last.number, last.state) == (7, "failed")
    assert "screening.json: channels[0].score" in last.details[0]


@needs_openssl
@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the command sha256sum")
def test_the_readme_s_commands_check_the_package(archive: Archive, sealed: Sealed, tmp_path: Path) -> None:
    with zipfile.ZipFile(sealed.path) as file:
        file.extractall(tmp_path)
    readme = (tmp_path / "README.txt").read_text()
    commands = re.findall(r"^      (sha256sum --check .*|openssl .*)$", readme, re.MULTILINE)
    assert len(commands) == 3
    said = [
        subprocess.run(["sh", "-c", one], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for one in commands
    ]
    assert said[0].count(": OK\n") == sealed.made.files - 1
    assert "Verified Successfully" in said[1]
    assert said[2].split()[0] == archive.key.public.fingerprint
    assert archive.key.public.fingerprint in readme
    (tmp_path / "report.html").write_text("another report")
    assert (
        subprocess.run(["sh", "-c", commands[0]], cwd=tmp_path, capture_output=True, check=False).returncode
        != 0
    )
