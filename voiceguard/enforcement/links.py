"""Links that open without a key until they end: to the calls and the evidence of a notice.

A link names what it opens and until when, and carries an Ed25519 signature of both by the key that signs
evidence; nothing of it is kept, so that no list of open links can leak.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
from urllib.parse import urlencode

from voiceguard.errors import VoiceGuardError
from voiceguard.store.signing import PublicKey, SigningKey

LIFETIME = dt.timedelta(days=14)
"""Longer than any clock that a notice has by default; providers keep a link in their ticket."""
_DOMAIN = "voiceguard link 1"


class What(enum.StrEnum):
    """What a link opens."""

    EVIDENCE = "evidence"
    CALLS = "calls"


class InvalidLink(VoiceGuardError):
    """The link was not made by this service, or was altered."""

    code = "invalid_link"
    remedy = "Copy the whole address from the notice."


class LinkExpired(VoiceGuardError):
    """The link no longer opens."""

    code = "link_expired"
    remedy = "Ask who sent the notice for a new one, or fetch it with your API key."


def make(key: SigningKey, base_url: str, notice_id: str, what: What, expires_at: dt.datetime) -> str:
    """Return the address that opens ``what`` of a notice until ``expires_at``."""
    expires = int(expires_at.timestamp())
    signature = base64.urlsafe_b64encode(key.sign(_text(notice_id, what, expires))).decode().rstrip("=")
    query = urlencode({"expires": expires, "signature": signature})
    return f"{base_url.rstrip('/')}/links/notices/{notice_id}/{what.value}?{query}"


def check(key: PublicKey, notice_id: str, what: What, expires: int, signature: str, now: dt.datetime) -> None:
    """Raise `InvalidLink` or `LinkExpired` unless a link opens now."""
    try:
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except ValueError:
        raise InvalidLink from None
    if len(given) != 64 or not key.verifies(given, _text(notice_id, what, expires)):
        raise InvalidLink
    if now.timestamp() >= expires:
        raise LinkExpired(
            f"The link opened until {dt.datetime.fromtimestamp(expires, dt.UTC):%Y-%m-%d %H:%M} UTC."
        )


def _text(notice_id: str, what: What, expires: int) -> bytes:
    return f"{_DOMAIN}\n{what.value}\n{notice_id}\n{expires}".encode()
