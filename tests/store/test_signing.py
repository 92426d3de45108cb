from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.openssl import needs_openssl
from voiceguard.errors import SigningKeyError
from voiceguard.settings import Settings
from voiceguard.store import signing
from voiceguard.store.signing import PublicKey, SigningKey


def _settings(folder: Path, signing_key: Path | None = None) -> Settings:
    return Settings(data_dir=folder, signing_key=signing_key)


def test_the_first_use_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = signing.open_key(_settings(folder))
    (file,) = folder.iterdir()
    assert file.name == "signing-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert signing.open_key(_settings(folder)).public == key.public


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: signing.open_key(_settings(tmp_path)).public, range(8)))
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["signing-key.pem"]


def test_a_named_key_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="can't be read"):
        signing.open_key(_settings(tmp_path, tmp_path / "mistyped.pem"))
    assert list(tmp_path.iterdir()) == []


@needs_openssl
def test_a_key_that_openssl_made_works_and_has_the_fingerprint_that_openssl_computes(tmp_path: Path) -> None:
    run = {"cwd": tmp_path, "check": True, "capture_output": True, "shell": True}
    subprocess.run("openssl genpkey -algorithm ed25519 -out key.pem", **run)  # type: ignore[call-overload]
    key = signing.open_key(_settings(tmp_path, tmp_path / "key.pem"))
    said = subprocess.run(  # type: ignore[call-overload]
        "openssl pkey -in key.pem -pubout -outform DER | openssl dgst -sha256 -r", **run
    ).stdout
    assert said.decode().split()[0] == key.public.fingerprint
    assert PublicKey.from_pem(key.public.pem) == key.public


@pytest.mark.parametrize(
    "content", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.pem").write_text(content)
    with pytest.raises(SigningKeyError, match="Ed25519"):
        signing.open_key(_settings(tmp_path, tmp_path / "key.pem"))


@needs_openssl
def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "x25519", "-out", "key.pem"], cwd=tmp_path, check=True
    )
    with pytest.raises(SigningKeyError, match="another kind"):
        signing.open_key(_settings(tmp_path, tmp_path / "key.pem"))


def test_signatures_fit_their_data_and_key_only() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"data")
    assert key.public.verifies(signature, b"data")
    assert not key.public.verifies(signature, b"Data")
    assert not SigningKey.generate().public.verifies(signature, b"data")
