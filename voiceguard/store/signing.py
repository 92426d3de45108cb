"""The key that signs checkpoints and evidence packages: Ed25519, in a file of its own.

Its fingerprint is the SHA-256 of the public key's DER form, so that anyone can compute it:
``openssl pkey -pubin -in public-key.pem -outform DER | sha256sum``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from voiceguard.errors import SigningKeyError
from voiceguard.settings import Settings

DEFAULT_NAME = "signing-key.pem"


@dataclass(frozen=True)
class PublicKey:
    """A public key that verifies what a `SigningKey` signed."""

    raw: bytes
    """32 bytes."""

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read a PEM file; raise ValueError if it holds no Ed25519 public key."""
        try:
            key = serialization.load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from error
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("expected an Ed25519 public key, got another kind")
        return cls(key.public_bytes_raw())

    @property
    def pem(self) -> bytes:
        """The key as PEM, as ``openssl`` reads it."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's DER form, in lower-case hexadecimal."""
        der = self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Say whether the key's owner signed ``data``."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


class SigningKey:
    """The private key; it leaves this object only into its own file."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key that is nowhere kept."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The key that verifies."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data``, 64 bytes; the same for the same data."""
        return self._key.sign(data)


def open_key(settings: Settings) -> SigningKey:
    """Read the key that the settings name, or the one in the data folder, which the first use makes.

    Raises
    ------
    SigningKeyError
        The file that the settings name is not there, can't be read, or holds no Ed25519 private key.
    """
    if settings.signing_key is not None:
        # A mistyped path must not make a key that nobody knows.
        return _read(settings.signing_key)
    path = settings.data_dir / DEFAULT_NAME
    if not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SigningKeyError(
            f"Expected the signing key at {path}; it can't be read: {error.strerror}."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(
            f"Expected an unencrypted Ed25519 private key in PEM in {path}, got no such."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"Expected an Ed25519 private key in {path}, got one of another kind.")
    return SigningKey(key)


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link and no rename: of two processes that start together the first one's key stays.
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
    except OSError as error:
        raise SigningKeyError(f"Expected to make a signing key at {path}: {error.strerror}.") from error
