"""Who streams: an API key with the upgrade or in the start message, or Twilio's signature."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
from collections.abc import Iterator
from functools import partial

from starlette.requests import HTTPConnection

from voiceguard.api import auth
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service
from voiceguard.store import keys
from voiceguard.store.keys import ApiKey, Scope

SIGNATURE_HEADER = "x-twilio-signature"


async def key_of_upgrade(connection: HTTPConnection, service: Service) -> ApiKey | None:
    """Return the key that came with the upgrade; None if none did and the start message must hold one.

    It comes as ``Authorization: Bearer vg_…``, as the password of HTTP Basic (what Asterisk and FreeSWITCH
    can send), or stands behind Twilio's signature. What came must be right: a wrong one is a `Problem`.
    """
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await key_of_secret(connection, service, credentials.strip())
    if scheme.lower() == "basic":
        return await key_of_secret(connection, service, _password(credentials))
    if SIGNATURE_HEADER in connection.headers and service.settings.twilio_auth_tokens:
        return await _key_of_signature(connection, service)
    return None


async def key_of_secret(connection: HTTPConnection, service: Service, secret: str) -> ApiKey:
    """Return the key that ``secret`` opens, if it may stream."""
    if not keys.well_formed(secret):
        raise Problem("invalid_key", "The key's form or checksum is wrong; it was not copied whole.")
    key = await service.in_thread(lambda: auth.find(connection, service, secret, dt.datetime.now(dt.UTC)))
    return may_stream(key)


def may_stream(key: ApiKey | None) -> ApiKey:
    """Return the key if it may stream now; else raise a `Problem`."""
    if key is None:
        raise Problem("invalid_key")
    if not key.usable(dt.datetime.now(dt.UTC)):
        raise Problem("revoked_key" if key.revoked_at is not None else "expired_key")
    if Scope.STREAMS not in key.scopes:
        raise Problem("insufficient_scope", f"Expected a key with the scope {Scope.STREAMS}.")
    return key


async def _key_of_signature(connection: HTTPConnection, service: Service) -> ApiKey:
    """Return the key whose Twilio auth token signed the address (twilio.com/docs/usage/security)."""
    came = connection.headers[SIGNATURE_HEADER].encode("ascii", "replace")
    for prefix, token in service.settings.twilio_auth_tokens.items():
        for address in _addresses(connection):
            digest = hmac.new(token.get_secret_value().encode(), address.encode(), hashlib.sha1).digest()
            if hmac.compare_digest(base64.b64encode(digest), came):
                return may_stream(await service.in_thread(partial(keys.named, service.engine, prefix)))
    raise Problem("invalid_key", "X-Twilio-Signature fits none of the auth tokens in the settings.")


def _addresses(connection: HTTPConnection) -> Iterator[str]:
    """Yield the forms in which Twilio may have known this address; a proxy hides the scheme."""
    query = f"?{connection.url.query}" if connection.url.query else ""
    for scheme in ("wss", "https", "ws", "http"):
        yield f"{scheme}://{connection.headers.get('host', '')}{connection.url.path}{query}"


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
