"""The client of an OpenID Connect service: the protocol, without pages and without accounts.

The authorization code flow of OpenID Connect Core 1.0 (section 3.1) with PKCE (RFC 7636), as RFC 9700 wants it: the
endpoints come from the service's discovery document, state ties the answer to the browser that asked, the nonce the
ID token to this one attempt, and the verifier the code to it. Of all that the service says only the ID token counts,
and of its claims only what names the person and gives the role.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from voiceguard import __version__
from voiceguard.review import id_token
from voiceguard.review.openid import CALLBACK, Attempt, OpenIDError, OpenIDUnavailable, Person
from voiceguard.settings import Settings

TIMEOUT_S = 10.0
"""For one request to the service, from name to last byte."""
KEPT_S = 3600.0
"""How long the service's endpoints and keys are taken for granted."""
_REST_S = 5.0
"""After a failure the service is left alone for so long: each try would hold a request until the timeout."""


@dataclass(frozen=True)
class _Endpoints:
    authorization: str
    token: str
    keys: str
    end_session: str | None
    auth_method: str
    says_issuer: bool
    """Whether its answers name it (RFC 9207)."""


class OpenIDService:
    """The service that the settings name, and what it said of itself lately."""

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        self.issuer = settings.oidc_issuer
        self.name = settings.oidc_name
        self._settings = settings
        self._secret = _secret_of(settings)
        self._tls = httpx2.create_ssl_context()
        self._lock = asyncio.Lock()
        self._endpoints: _Endpoints | None = None
        self._keys: KeySet | None = None
        self._kept_until = 0.0
        self._rests_until = 0.0

    @property
    def redirect_uri(self) -> str:
        """Where the service sends people back to; it must be told this address."""
        return self._settings.public_url.rstrip("/") + CALLBACK

    async def address(self, attempt: Attempt) -> str:
        """Return where the browser goes to sign in.

        Raises
        ------
        OpenIDError
            The service does not answer, or not as it should.
        """
        endpoints = await self._discovered()
        said = {"nonce": attempt.nonce, "code_verifier": attempt.verifier}
        if self._settings.oidc_acr:
            said["acr_values"] = " ".join(self._settings.oidc_acr)
        async with self._client() as client:
            return str(client.create_authorization_url(endpoints.authorization, attempt.state, **said)[0])

    async def person(self, attempt: Attempt, code: str, issuer: str | None) -> Person:
        """Return whom the service signed in.

        Parameters
        ----------
        attempt
            Of the browser that brings the code; its state was compared before.
        code
            As the service gave it to the browser.
        issuer
            Who gave it, where the answer says so (RFC 9207).

        Raises
        ------
        OpenIDError
            The service does not answer, or not as it should.
        OpenIDRefused
            The person signed in by a way that the settings do not accept.
        """
        endpoints = await self._discovered()
        # 1. The answer is this service's and no other's.
        if issuer != self.issuer and (issuer is not None or endpoints.says_issuer):
            raise OpenIDError(f"Expected an answer of {self.issuer}, got one of {issuer}.")
        # 2. The code is redeemed with the client's secret and the attempt's verifier.
        token = await self._redeem(endpoints, attempt, code)
        # 3. The ID token is for this attempt; a key that is not known makes us look at the service's keys again.
        try:
            claims = id_token.checked(self._settings, token, await self._key_set(), attempt.nonce)
        except InvalidKeyIdError:
            claims = await self._checked_anew(token, attempt.nonce)
        # 4. The way of signing in is one that the settings accept.
        return id_token.person_of(self._settings, claims)

    async def sign_out_address(self) -> str | None:
        """Return where a browser signs out of the service itself (RP-Initiated Logout 1.0), if it has that."""
        try:
            endpoints = await self._discovered()
        except OpenIDError:
            return None
        if endpoints.end_session is None:
            return None
        back = self._settings.public_url.rstrip("/") + "/review/sign-in"
        said = {"client_id": self._settings.oidc_client_id, "post_logout_redirect_uri": back}
        joint = "&" if urlsplit(endpoints.end_session).query else "?"
        return endpoints.end_session + joint + urlencode(said)

    async def _discovered(self) -> _Endpoints:
        """Return the service's endpoints; OpenID Connect Discovery 1.0, section 4."""
        async with self._lock:
            now = time.monotonic()
            if self._endpoints is not None and now < self._kept_until:
                return self._endpoints
            if now < self._rests_until:
                raise OpenIDUnavailable(f"Expected an answer of {self.issuer}, but just now it gave none.")
            try:
                said = await self._fetched(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
                self._endpoints = self._read(said)
            except OpenIDError:
                self._rests_until = time.monotonic() + _REST_S
                raise
            self._kept_until, self._keys = time.monotonic() + KEPT_S, None
            return self._endpoints

    def _read(self, said: Mapping[str, Any]) -> _Endpoints:
        if said.get("issuer") != self.issuer:
            raise OpenIDError(
                f"Expected {self.issuer} as issuer in its own document, got {said.get('issuer')}."
            )
        insecure = urlsplit(self.issuer).scheme == "http"

        def _address(name: str) -> str:
            value = said.get(name)
            allowed = ("https", "http") if insecure else ("https",)
            if not isinstance(value, str) or urlsplit(value).scheme not in allowed:
                raise OpenIDError(f"Expected an https address as {name} of {self.issuer}, got {value}.")
            return value

        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        for method in ("client_secret_basic", "client_secret_post"):
            if method in methods:
                break
        else:
            raise OpenIDError(f"Expected {self.issuer} to take the client's secret, but it takes {methods}.")
        return _Endpoints(
            authorization=_address("authorization_endpoint"),
            token=_address("token_endpoint"),
            keys=_address("jwks_uri"),
            end_session=_address("end_session_endpoint") if "end_session_endpoint" in said else None,
            auth_method=method,
            says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )

    async def _key_set(self, *, again: bool = False) -> KeySet:
        endpoints = await self._discovered()
        if self._keys is None or again:
            said = await self._fetched(endpoints.keys)
            try:
                self._keys = KeySet.import_key_set(said)  # type: ignore[arg-type]
            except (JoseError, ValueError, TypeError, KeyError) as error:
                raise OpenIDError(f"Expected keys at {endpoints.keys}: {error}.") from error
        return self._keys

    async def _checked_anew(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        try:
            return id_token.checked(self._settings, token, await self._key_set(again=True), nonce)
        except InvalidKeyIdError as error:
            raise OpenIDError(f"Expected an ID token signed by a key of {self.issuer}: {error}.") from error

    async def _redeem(self, endpoints: _Endpoints, attempt: Attempt, code: str) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._client(endpoints.auth_method) as client:
                token: Mapping[str, Any] = await client.fetch_token(
                    endpoints.token, code=code, code_verifier=attempt.verifier
                )
                return token
        except OAuthError as error:
            # What it says goes to the log; a wrong secret and a code that was used before look alike.
            raise OpenIDError(f"Expected tokens of {self.issuer}, got {_short(error)}.") from error
        except (TimeoutError, httpx2.TransportError) as error:
            raise OpenIDUnavailable(f"Expected {endpoints.token} to answer: {_short(error)}.") from error
        except (httpx2.HTTPError, ValueError, TypeError, KeyError) as error:
            raise OpenIDError(f"Expected tokens at {endpoints.token}: {_short(error)}.") from error

    async def _fetched(self, url: str) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_S), httpx2.AsyncClient(**self._options()) as client:
                answer = await client.get(url)
                said = answer.raise_for_status().json()
        except (TimeoutError, httpx2.TransportError) as error:
            raise OpenIDUnavailable(f"Expected {url} to answer: {_short(error)}.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise OpenIDError(f"Expected a JSON document at {url}: {_short(error)}.") from error
        if not isinstance(said, dict):
            raise OpenIDError(f"Expected a JSON object at {url}.")
        return said

    def _client(self, auth_method: str = "client_secret_basic") -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            client_id=self._settings.oidc_client_id,
            client_secret=self._secret,
            token_endpoint_auth_method=auth_method,
            scope=self._settings.oidc_scopes,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            **self._options(),
        )

    def _options(self) -> dict[str, Any]:
        return {
            "verify": self._tls,
            "timeout": TIMEOUT_S,
            "headers": {"user-agent": f"VoiceGuard/{__version__}", "accept": "application/json"},
        }


def _secret_of(settings: Settings) -> str:
    if settings.oidc_client_secret is not None:
        return settings.oidc_client_secret.get_secret_value()
    file = settings.oidc_client_secret_file
    assert file is not None
    try:
        secret = file.read_text().strip()
    except (OSError, UnicodeError) as error:
        raise OpenIDError(f"Expected the client's secret in {file}, which can't be read: {error}.") from error
    if not secret:
        raise OpenIDError(f"Expected the client's secret in {file}, which is empty.")
    return secret


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:300]
