"""An OpenID provider over HTTP that keeps to the rules, until a test tells it to break one.

It checks what a provider has to check itself (redirect address, PKCE, the client's secret, that a code is used
once), with nothing of Authlib's, so that it can't share a mistake with the client under test.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import html
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "voiceguard", "a secret between two servers"
Claims = dict[str, Any]


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


KEYS = [new_key("first"), new_key("second")]
"""Made once: each takes a while."""


@dataclass
class Grant:
    """What a code stands for."""

    subject: str
    asked: dict[str, str]


@dataclass
class IdentityProvider:
    url: str
    host: str
    people: dict[str, Claims] = field(default_factory=dict)
    """Claims by subject."""
    redirect_uris: set[str] = field(default_factory=set)
    back_uris: set[str] = field(default_factory=set)
    signing: RSAKey = field(default_factory=lambda: KEYS[0])
    published: list[RSAKey] = field(default_factory=lambda: [KEYS[0]])
    document: Claims = field(default_factory=dict)
    """What the discovery document says otherwise; None leaves it out."""
    spoil: Callable[[Claims], Any] = lambda claims: None
    """Changes the claims before they are signed."""
    sign: Callable[[Claims], str] | None = None
    """Signs them in another way."""
    answers: dict[str, Response] = field(default_factory=dict)
    """What a path answers instead of what it should."""
    asked: collections.Counter[str] = field(default_factory=collections.Counter)
    """How often each path was asked for."""
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/staff"

    def reset(self) -> None:
        fresh = IdentityProvider(self.url, self.host)
        for name in ("signing", "published", "document", "spoil", "sign", "answers", "asked", "grants"):
            setattr(self, name, getattr(fresh, name))

    def discovery(self) -> Claims:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": self.url + "/authorize",
            "token_endpoint": self.url + "/token",
            "jwks_uri": self.url + "/keys",
            "end_session_endpoint": self.url + "/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.document,
        }
        return {name: value for name, value in said.items() if value is not None}

    def refusal(self, asked: dict[str, str]) -> str | None:
        """Why an authorization request is answered here and not sent back; RFC 6749, section 4.1.2.1."""
        wrong = {
            "client_id": asked.get("client_id") != CLIENT_ID,
            "redirect_uri": asked.get("redirect_uri") not in self.redirect_uris,
            "response_type": asked.get("response_type") != "code",
            "scope": "openid" not in asked.get("scope", "").split(),
            "code_challenge_method": asked.get("code_challenge_method") != "S256",
            "code_challenge": len(asked.get("code_challenge", "")) != 43,
            "state": not asked.get("state"),
            "nonce": not asked.get("nonce"),
        }
        return next((name for name, is_wrong in wrong.items() if is_wrong), None)

    def id_token(self, grant: Grant, access_token: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "sub": grant.subject,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": grant.asked["nonce"],
            "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
            **self.people[grant.subject],
        }
        self.spoil(claims)
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode(
            {"alg": "RS256", "kid": self.signing.kid}, claims, self.signing, algorithms=["RS256"]
        )

    def approve(self, address: str, subject: str) -> str:
        """Sign in at the form that ``address`` shows; return where the browser is sent."""
        with httpx2.Client() as browser:
            form = browser.get(address)
            assert form.status_code == 200, form.text
            answer = browser.post(address, data={"subject": subject})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])


def _app(provider: IdentityProvider) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def _spoilt(request: Request, go_on: Any) -> Response:
        provider.asked[request.url.path] += 1
        answer: Response = provider.answers.get(request.url.path) or await go_on(request)
        return answer

    @app.get("/realms/staff/.well-known/openid-configuration")
    async def discovery() -> Response:
        return JSONResponse(provider.discovery())

    @app.get("/keys")
    async def keys() -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in provider.published]})

    @app.get("/authorize")
    async def form(request: Request) -> Response:
        if (wrong := provider.refusal(dict(request.query_params))) is not None:
            return HTMLResponse(f"wrong {wrong}", 400)
        names = "".join(f"<option>{html.escape(name)}</option>" for name in provider.people)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><title>Staff</title><link rel="icon" href="data:,"><form method="post">'
            f'<label>Who <select name="subject" autofocus>{names}</select></label><button>Yes</button></form>'
        )

    @app.post("/authorize")
    async def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        if (wrong := provider.refusal(asked)) is not None:
            return HTMLResponse(f"wrong {wrong}", 400)
        subject = dict(parse_qsl((await request.body()).decode()))["subject"]
        code = secrets.token_urlsafe(16)
        provider.grants[code] = Grant(subject, asked)
        said = {"code": code, "state": asked["state"], "iss": provider.issuer}
        return RedirectResponse(asked["redirect_uri"] + "?" + urlencode(said), 303)

    @app.post("/token")
    async def token(request: Request) -> Response:
        said = dict(parse_qsl((await request.body()).decode()))
        credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        in_body = (said.get("client_id"), said.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if request.headers.get("authorization") != f"Basic {credentials}" and not in_body:
            return JSONResponse({"error": "invalid_client"}, 401)
        grant = provider.grants.pop(said.get("code", ""), None)  # once
        hashed = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        if (
            grant is None
            or said.get("grant_type") != "authorization_code"
            or said.get("redirect_uri") != grant.asked["redirect_uri"]
            or challenge != grant.asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access_token = secrets.token_urlsafe(16)
        id_token = provider.id_token(grant, access_token)
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300}
        return JSONResponse(answer | {"id_token": id_token}, headers={"Cache-Control": "no-store"})

    @app.get("/logout")
    async def logout(request: Request) -> Response:
        asked = dict(request.query_params)
        if (
            asked.get("client_id") != CLIENT_ID
            or asked.get("post_logout_redirect_uri") not in provider.back_uris
        ):
            return HTMLResponse("wrong", 400)
        return RedirectResponse(asked["post_logout_redirect_uri"], 303)

    return app


@contextmanager
def serving(host: str = "localhost") -> Iterator[IdentityProvider]:
    """Serve a provider; ``localhost`` is another site than the 127.0.0.1 of the service that it signs in to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        provider = IdentityProvider(f"http://{host}:{listening.getsockname()[1]}", host)
        config = uvicorn.Config(_app(provider), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield provider
        finally:
            server.should_exit = True
            thread.join(30)


def path_of(address: str) -> str:
    """Return an address without its host, as a test's client of one host asks for it."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
