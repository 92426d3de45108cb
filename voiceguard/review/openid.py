"""Signing in at an OpenID Connect service: what the pages need to know of it, whether it is installed or not.

The protocol is in `openid_client` and `id_token`, which need the extra ``oidc`` and are imported when the settings
name a service.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store.identities import Identity
from voiceguard.store.people import Role

if TYPE_CHECKING:
    from voiceguard.review.openid_client import OpenIDService

CALLBACK = "/review/oidc/callback"
_MAX_NEXT_CHARS = 2000
"""A cookie holds 4096 bytes."""
_TOKEN = re.compile("[A-Za-z0-9_-]{43}")


class OpenIDError(VoiceGuardError):
    """The OpenID Connect service does not answer as it should."""

    code = "openid_error"
    remedy = "Check the settings VOICEGUARD_OIDC_… and the service behind them; see docs/review/oidc.md."


class OpenIDUnavailable(OpenIDError):
    """The OpenID Connect service does not answer."""

    code = "openid_unavailable"


class OpenIDRefused(OpenIDError):
    """The service signed the person in, but by a way that the settings do not accept."""

    code = "openid_refused"


@dataclass(frozen=True)
class Person:
    """Who was signed in, as the service says it and the settings read it."""

    identity: Identity
    name: str
    """For an account, if one has to be opened."""
    role: Role | None


@dataclass(frozen=True)
class Attempt:
    """What the browser keeps while its person is away at the service; each part has 256 random bits."""

    state: str
    """Comes back with the answer: it is this browser's."""
    nonce: str
    """Comes back in the ID token: it is for this attempt."""
    verifier: str
    """Goes to the service with the code, of which it had the hash: whoever else has the code can't use it."""
    next: str
    """Where to go when signed in: a path."""

    @classmethod
    def new(cls, next: str) -> Attempt:
        """Begin an attempt."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, next if len(next) <= _MAX_NEXT_CHARS else "/review")

    def cookie(self) -> str:
        """Return the attempt as a cookie's value."""
        next = base64.urlsafe_b64encode(self.next.encode()).decode().rstrip("=")
        return ".".join((self.state, self.nonce, self.verifier, next))

    @classmethod
    def of_cookie(cls, value: str) -> Attempt | None:
        """Read a cookie; None if it is none of ours. Anybody may have written it: ``next`` is to be checked."""
        parts = value.split(".")
        if len(parts) != 4 or not all(_TOKEN.fullmatch(part) for part in parts[:3]):
            return None
        state, nonce, verifier, next = parts
        try:
            return cls(
                state, nonce, verifier, base64.urlsafe_b64decode(next + "=" * (-len(next) % 4)).decode()
            )
        except ValueError:
            return None


def open_service(settings: Settings) -> OpenIDService | None:
    """Return the service that the settings name, if they name one; it is not asked for anything yet.

    Raises
    ------
    OpenIDError
        The extra ``oidc`` is not installed, or the client's secret can't be read.
    """
    if settings.oidc_issuer is None:
        return None
    try:
        from voiceguard.review.openid_client import OpenIDService
    except ModuleNotFoundError as error:
        raise OpenIDError(
            f"Sign-in by OpenID Connect needs {error.name}: pip install 'voiceguard-screening[oidc]'."
        ) from error
    return OpenIDService(settings)


def service_of(request: Request) -> OpenIDService | None:
    """Return the service that this app signs people in by, if there is one."""
    service: OpenIDService | None = request.app.state.openid
    return service
