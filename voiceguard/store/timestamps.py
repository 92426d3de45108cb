"""RFC 3161 timestamps: an authority's word that something existed at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx2
from cryptography import x509
from rfc3161_client import (
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from voiceguard.errors import TimestampError
from voiceguard.settings import Settings

TIMEOUT_S = 10.0
MAX_RESPONSE_BYTES = 64 * 1024
_HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


class Authority:
    """A time-stamping authority behind HTTP (RFC 3161, section 3.4).

    Parameters
    ----------
    url
        Where it takes requests.
    roots
        PEM file of the root certificates that its own must lead to.

    Raises
    ------
    TimestampError
        The file of roots can't be read.
    """

    def __init__(self, url: str, roots: Path) -> None:
        self._url = url
        self._roots = read_roots(roots)

    def stamp(self, data: bytes) -> bytes:
        """Return the authority's response over ``data``, checked.

        Raises
        ------
        TimestampError
            It does not answer, refuses, or its response does not stand up to the roots.
        """
        request = (
            TimestampRequestBuilder().data(data).nonce(nonce=True).cert_request(cert_request=True).build()
        )
        try:
            answer = httpx2.post(
                self._url,
                content=request.as_bytes(),
                headers={"Content-Type": "application/timestamp-query"},
                timeout=TIMEOUT_S,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise TimestampError(f"The time-stamping authority does not answer: {error}.") from error
        if answer.status_code != 200 or len(answer.content) > MAX_RESPONSE_BYTES:
            raise TimestampError(f"Expected a timestamp, got status {answer.status_code}.")
        verify(answer.content, data, self._roots, nonce=request.nonce)
        return answer.content


def stamp(settings: Settings, warn: Callable[[str], None]) -> Callable[[bytes], bytes | None] | None:
    """Return what asks the authority that is set about a statement; None if none is set.

    An authority that is down must not keep checkpoints from being signed: ``warn`` is told, and the checkpoint
    has no stamp.

    Raises
    ------
    TimestampError
        The file of roots can't be read.
    """
    if settings.timestamp_url is None or settings.timestamp_roots is None:
        return None
    authority = Authority(settings.timestamp_url, settings.timestamp_roots)

    def _ask(statement: bytes) -> bytes | None:
        try:
            return authority.stamp(statement)
        except TimestampError as error:
            warn(str(error))
            return None

    return _ask


def read_roots(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM file; raise `TimestampError` if there are none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise TimestampError(f"Expected root certificates in {path}: {error.strerror}.") from error
    except ValueError as error:
        raise TimestampError(f"Expected root certificates in PEM in {path}, got no such.") from error


def verify(
    response: bytes, data: bytes, roots: list[x509.Certificate], *, nonce: int | None = None
) -> dt.datetime:
    """Check that a response is over ``data`` and stands up to ``roots``; return its time.

    Raises
    ------
    TimestampError
        It does not.
    """
    decoded = _decode(response)
    builder = VerifierBuilder(roots=list(roots), nonce=nonce)
    try:
        builder.build().verify_message(decoded, data)
    except (VerificationError, ValueError) as error:
        raise TimestampError(f"The timestamp does not stand up to the roots: {error}.") from error
    return decoded.tst_info.gen_time


def claimed_time(response: bytes, data: bytes) -> dt.datetime:
    """Return the time in a response over ``data``, whoever signed it.

    Raises
    ------
    TimestampError
        It is no response, or over something else.
    """
    decoded = _decode(response)
    imprint = decoded.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string not in _HASHES:
        raise TimestampError("Expected a timestamp by SHA-256, SHA-384 or SHA-512, got another hash.")
    if hashlib.new(_HASHES[imprint.hash_algorithm.dotted_string], data).digest() != imprint.message:
        raise TimestampError("The timestamp is over something else.")
    return decoded.tst_info.gen_time


def _decode(response: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(response)
    except ValueError as error:
        raise TimestampError(f"Expected a timestamp response, got {error}.") from error
