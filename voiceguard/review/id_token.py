"""What an ID token says: whether it is one for this sign-in, who the person is, and what role the person has."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from voiceguard.review.openid import OpenIDError, OpenIDRefused, Person
from voiceguard.settings import Settings
from voiceguard.store.identities import SUBJECT, Identity
from voiceguard.store.people import NAME, Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""What an ID token may be signed by: neither nothing, nor HMAC, whose key would be the client's secret."""
LEEWAY_S = 60
"""How far the service's clock may be from this one."""
_BY_RIGHTS = (Role.AUDITOR, Role.ANALYST, Role.SUPERVISOR, Role.ADMIN)
"""Each of them may do all that the one before may."""


def checked(
    settings: Settings, token: Mapping[str, Any], keys: KeySet, nonce: str, *, now_s: int | None = None
) -> Mapping[str, Any]:
    """Return the claims of an ID token for this sign-in; OpenID Connect Core 1.0, section 3.1.3.7.

    Parameters
    ----------
    settings
        Which issuer, and which client.
    token
        The token endpoint's answer.
    keys
        The issuer's.
    nonce
        Of this attempt to sign in.
    now_s
        The present, seconds since 1970; by default the machine's.

    Raises
    ------
    InvalidKeyIdError
        The token names a key that is not among ``keys``.
    OpenIDError
        It is no ID token for this sign-in.
    """
    options = {
        "iss": {"essential": True, "value": settings.oidc_issuer},
        "aud": {"essential": True, "value": settings.oidc_client_id},
    }
    expected = {
        "nonce": nonce,
        "client_id": settings.oidc_client_id,
        "access_token": token.get("access_token"),
    }
    try:
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        found = jwt.decode(token["id_token"], keys, registry=registry)
        claims = CodeIDToken(found.claims, found.header, options, expected)
        claims.validate(now=now_s, leeway=LEEWAY_S)
    except InvalidKeyIdError:
        raise
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OpenIDError(
            f"Expected an ID token for this sign-in: {error or type(error).__name__}."
        ) from error
    return dict(claims)


def person_of(settings: Settings, claims: Mapping[str, Any]) -> Person:
    """Return whom checked claims name.

    Raises
    ------
    OpenIDRefused
        The settings want another way of signing in.
    OpenIDError
        The subject has a form that subjects don't have.
    """
    acr, amr = settings.oidc_acr, settings.oidc_amr
    if acr and claims.get("acr") not in acr:
        raise OpenIDRefused(f"Expected one of {acr} as acr, got {claims.get('acr')!r}.")
    if amr and not set(amr) & set(_strings(claims.get("amr"))):
        raise OpenIDRefused(f"Expected one of {amr} in amr, got {claims.get('amr')!r}.")
    subject = claims["sub"]
    if not SUBJECT.fullmatch(subject):
        raise OpenIDError("Expected a subject of 1 to 255 characters of ASCII in the ID token.")
    identity = Identity(claims["iss"], subject)
    given = {settings.oidc_roles.get(value) for value in _strings(_at(claims, settings.oidc_role_claim))}
    role = max((Role(one) for one in given if one), key=_BY_RIGHTS.index, default=None)
    return Person(identity, _account_name(claims.get(settings.oidc_name_claim), identity), role)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim of that name, or the one within others that the dots lead to."""
    if path in claims:  # a name may itself hold dots: some are addresses
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _account_name(value: Any, identity: Identity) -> str:
    """Return a name of the form that accounts have, near to what the service says."""
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"[^a-z0-9._@-]+", "-", plain).lstrip("._@-")[:64].rstrip("-")
        if NAME.fullmatch(name):
            return name
    hashed = hashlib.sha256(f"{identity.issuer}\0{identity.subject}".encode()).hexdigest()
    return f"person-{hashed[:12]}"


def _strings(value: Any) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]
