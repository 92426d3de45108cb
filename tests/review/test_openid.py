"""Signing in at an OpenID Connect service that runs as a server of its own, and every way in which it must fail."""

from __future__ import annotations

import base64
import hmac
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.review.conftest import PASSWORD, Desk, csrf, running
from tests.review.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    KEYS,
    Claims,
    IdentityProvider,
    path_of,
    serving,
)
from voiceguard.api import custody
from voiceguard.review import openid_pages
from voiceguard.review.openid import Attempt, OpenIDError, open_service
from voiceguard.settings import Settings
from voiceguard.store import audit, identities, people, signing
from voiceguard.store.engine import reading
from voiceguard.store.identities import Identity
from voiceguard.store.people import Role, User

HOME = "http://testserver"
ROLES = {"vg-audit": "auditor", "vg-analysts": "analyst", "vg-leads": "supervisor", "vg-admins": "admin"}
PEOPLE: dict[str, Claims] = {
    "sub-ann": {"preferred_username": "ann", "groups": ["staff", "vg-analysts"]},
    "sub-eve": {"preferred_username": "eve", "groups": ["vg-analysts"]},
    "sub-nobody": {"preferred_username": "nobody", "groups": ["staff"]},
}


@pytest.fixture(scope="module")
def provider_at() -> Iterator[IdentityProvider]:
    with serving() as provider:
        provider.redirect_uris = {f"{HOME}/review/oidc/callback"}
        provider.back_uris = {f"{HOME}/review/sign-in"}
        yield provider


@pytest.fixture
def provider(provider_at: IdentityProvider) -> IdentityProvider:
    provider_at.reset()
    provider_at.people = {subject: dict(claims) for subject, claims in PEOPLE.items()}
    return provider_at


@pytest.fixture(scope="module")
def desk_at(provider_at: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    settings = {
        "public_url": HOME,
        "oidc_issuer": provider_at.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_name": "Staff ID",
        "oidc_roles": ROLES,
    }
    with running(tmp_path_factory.mktemp("openid"), **settings) as desk:
        yield desk


@pytest.fixture
def desk(desk_at: Desk, provider: IdentityProvider) -> Iterator[Desk]:
    """The service, which knows nothing yet of the provider; every account is the test's own."""
    set_up(desk_at)
    yield desk_at
    desk_at.accounts.clear()
    import sqlalchemy as sa

    from voiceguard.store import schema
    from voiceguard.store.engine import writing

    with writing(desk_at.api.engine) as connection:
        for table in (schema.sessions, schema.identities, schema.users):
            connection.execute(sa.delete(table))


def set_up(desk: Desk, **settings: Any) -> None:
    """Begin anew with the provider, with other settings for it."""
    desk.api.client.app.state.openid = open_service(desk.api.settings.model_copy(update=settings))


def begin(browser: TestClient, next: str = "/review") -> str:
    """Follow the link of the sign-in page; return where it leads."""
    page = browser.get("/review/sign-in", params={"next": next})
    link = re.search(r'href="(/review/oidc/start[^"]*)">Sign in with Staff ID<', page.text)
    assert link is not None
    answer = browser.get(link[1].replace("&amp;", "&"))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def signed_in(desk: Desk, provider: IdentityProvider, subject: str, **more: Any) -> tuple[TestClient, Any]:
    """A browser that went there and back, and what it was shown."""
    browser = desk.browser()
    return browser, browser.get(path_of(provider.approve(begin(browser, **more), subject)))


def account(desk: Desk, name: str) -> User:
    (found,) = [user for user in people.everyone(desk.api.engine) if user.name == name]
    return found


def goes_on_to(page: Any) -> str:
    assert page.status_code == 200, page.text
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', page.text)
    assert found is not None, page.text
    return found[1]


def failed(page: Any, status: int, said: str) -> None:
    """Check that nobody was signed in, and that the page is one for people, with a next step."""
    assert page.status_code == status, page.text
    assert said in page.text
    assert "Try again with Staff ID" in page.text
    assert f'href="{HOME}/review/oidc/start' in page.text
    assert "vg_session" not in page.headers.get("set-cookie", "")


def rows(desk: Desk, user_id: str) -> list[str]:
    with reading(desk.api.engine) as connection:
        return [row.fields["action"] for row in audit.rows_of(connection, [user_id])]


def test_goes_there_and_back(desk: Desk, provider: IdentityProvider) -> None:
    browser = desk.browser()
    address = begin(browser, "/review/campaigns?decided=true")
    asked = dict(parse_qsl(urlsplit(address).query))
    assert (asked["client_id"], asked["scope"]) == (CLIENT_ID, "openid profile")
    assert CLIENT_SECRET not in address
    page = browser.get(path_of(provider.approve(address, "sub-ann")))
    assert goes_on_to(page) == "/review/campaigns?decided=true"
    assert browser.get("/review").status_code == 200
    user = account(desk, "ann")
    assert (user.role, user.issuer, user.has_password) == (Role.ANALYST, provider.issuer, False)
    assert rows(desk, user.id) == ["user.created", "user.signed_in"]
    # The attempt is forgotten; the session's cookie is as one that a password opens.
    given = {one.split("=")[0]: one.lower() for one in page.headers.get_list("set-cookie")}
    assert "max-age=0" in given["vg_openid"]
    desk.account("pat", Role.ADMIN)
    by_password = desk.browser().post(
        "/review/sign-in", data={"name": "pat", "password": PASSWORD, "code": code(desk)}
    )
    other = by_password.headers["set-cookie"].lower()
    assert given["vg_session"].split("; ")[1:] == other.split("; ")[1:]
    assert {"httponly", "samesite=strict"} <= set(other.split("; "))


def code(desk: Desk) -> str:
    import pyotp

    return pyotp.TOTP(desk.accounts["pat"].totp_secret or "").now()


def test_the_role_is_the_one_that_the_groups_give_now(desk: Desk, provider: IdentityProvider) -> None:
    browser, _ = signed_in(desk, provider, "sub-ann")
    first = account(desk, "ann")
    provider.people["sub-ann"] |= {"groups": ["vg-admins", "vg-audit", "vg-leads"], "preferred_username": "a"}
    signed_in(desk, provider, "sub-ann")
    assert account(desk, "ann").role is Role.ADMIN
    assert account(desk, "ann").id == first.id
    assert browser.get("/review/people").status_code == 200  # in the session that was open, too
    provider.people["sub-ann"]["groups"] = ["staff"]
    failed(signed_in(desk, provider, "sub-ann")[1], 403, "You have no role in VoiceGuard")
    assert browser.get("/review").status_code == 303
    provider.people["sub-ann"]["groups"] = "vg-audit"
    goes_on_to(signed_in(desk, provider, "sub-ann")[1])
    assert account(desk, "ann").role is Role.AUDITOR


@pytest.mark.parametrize(
    "groups", [["staff"], [], None, 7, {"vg-admins": True}, [["vg-admins"]], "VG-ADMINS"]
)
def test_without_a_group_that_gives_a_role_nobody_gets_in(
    desk: Desk, provider: IdentityProvider, groups: Any
) -> None:
    provider.people["sub-nobody"]["groups"] = groups
    failed(signed_in(desk, provider, "sub-nobody")[1], 403, "You have no role in VoiceGuard")
    assert people.everyone(desk.api.engine) == []


def test_a_closed_account_stays_closed(desk: Desk, provider: IdentityProvider) -> None:
    signed_in(desk, provider, "sub-ann")
    admin = desk.signed_in("root", Role.ADMIN)
    page = admin.get("/review/people")
    assert "Staff ID" in page.text
    assert admin.post("/review/people/ann/disable", data={"csrf": csrf(page)}).status_code == 303
    browser, page = signed_in(desk, provider, "sub-ann")
    failed(page, 403, "Your account is closed")
    assert browser.get("/review").status_code == 303


def test_an_account_of_the_same_name_is_linked_by_hand(desk: Desk, provider: IdentityProvider) -> None:
    mine = desk.signed_in("ann", Role.ADMIN)
    _, page = signed_in(desk, provider, "sub-ann")
    failed(page, 403, "There is an account ann already")
    assert "voiceguard user link ann" in page.text
    assert "sub-ann" in page.text
    assert mine.get("/review").status_code == 200
    identities.link(desk.api.engine, "ann", Identity(provider.issuer, "sub-ann"))
    browser, page = signed_in(desk, provider, "sub-ann")
    goes_on_to(page)
    assert account(desk, "ann").id == desk.accounts["ann"].user.id
    # What has no password here has none to change.
    assert "/review/password" not in browser.get("/review").text
    assert browser.get("/review/password").status_code == 409


@pytest.mark.parametrize("spoil", ["no state", "wrong state", "no cookie", "other browser"])
def test_an_answer_that_this_browser_did_not_ask_for_signs_nobody_in(
    desk: Desk, provider: IdentityProvider, spoil: str
) -> None:
    browser = desk.browser()
    there = provider.approve(begin(browser), "sub-eve")
    asked = dict(parse_qsl(urlsplit(there).query))
    if spoil == "no state":
        del asked["state"]
    elif spoil == "wrong state":
        asked["state"] = asked["state"][::-1]
    elif spoil == "no cookie":
        browser.cookies.clear()
    else:  # the attacker's answer, in the browser of someone who has begun to sign in
        browser = desk.browser()
        begin(browser)
    page = browser.get("/review/oidc/callback", params=asked)
    failed(page, 400, "This sign-in is out of date")
    assert provider.asked["/token"] == 0
    assert browser.get("/review").status_code == 303


def test_an_answer_is_good_once(desk: Desk, provider: IdentityProvider) -> None:
    browser = desk.browser()
    answer = path_of(provider.approve(begin(browser), "sub-ann"))
    cookie = browser.cookies["vg_openid"]
    goes_on_to(browser.get(answer))
    # Who goes back to it is still signed in; who found it is not.
    assert browser.get(answer).headers["location"] == "/review"
    failed(desk.browser().get(answer), 400, "out of date")
    thief = desk.browser()
    thief.cookies.set("vg_openid", cookie)
    failed(thief.get(answer), 502, "went wrong")
    assert thief.get("/review").status_code == 303


def test_a_code_that_another_browser_got_is_of_no_use(desk: Desk, provider: IdentityProvider) -> None:
    victim, attacker = desk.browser(), desk.browser()
    stolen = dict(parse_qsl(urlsplit(provider.approve(begin(victim), "sub-ann")).query))
    own = dict(parse_qsl(urlsplit(provider.approve(begin(attacker), "sub-eve")).query))
    failed(attacker.get("/review/oidc/callback", params=own | {"code": stolen["code"]}), 502, "went wrong")
    assert people.everyone(desk.api.engine) == []


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def unsigned(claims: Claims) -> str:
    parts = ({"alg": "none", "kid": "first"}, claims)
    return ".".join(encoded(json.dumps(part).encode()) for part in parts) + "."


def signed_by(key: RSAKey) -> Callable[[Claims], str]:
    return lambda claims: jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


STRANGER = RSAKey.import_key(KEYS[1].as_dict(private=True) | {"kid": "first"})


def by_hand(alg: str, key: bytes) -> Callable[[Claims], str]:
    """Sign with HMAC and a key that joserfc itself would not take for one."""

    def _signed(claims: Claims) -> str:
        parts = ({"alg": alg, "kid": "first"}, claims)
        head = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        return f"{head}.{encoded(hmac.digest(key, head.encode(), 'sha256'))}"

    return _signed


NOW_S = int(time.time())
SPOILT: dict[str, tuple[Claims, str]] = {
    "issuer": ({"iss": "https://id.example.org"}, "'iss'"),
    "no issuer": ({"iss": None}, "'iss'"),
    "audience": ({"aud": "another"}, "'aud'"),
    "audiences": ({"aud": ["another", "voiceguard2"]}, "'aud'"),
    "no audience": ({"aud": None}, "'aud'"),
    "several audiences, no party": ({"aud": [CLIENT_ID, "another"]}, "'azp'"),
    "another party": ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "'azp'"),
    "expired": ({"exp": NOW_S - 3600, "iat": NOW_S - 7200}, "expired_token"),
    "expires never": ({"exp": None}, "'exp'"),
    "of the future": ({"iat": NOW_S + 36000}, "in the future"),
    "nonce": ({"nonce": "x" * 43}, "'nonce'"),
    "no nonce": ({"nonce": None}, "'nonce'"),
    "no subject": ({"sub": None}, "'sub'"),
    "no text as subject": ({"sub": 7}, "'sub'"),
    "endless subject": ({"sub": "s" * 256}, "subject of 1 to 255"),
    "subject with a zero byte": ({"sub": "a\0b"}, "subject of 1 to 255"),
    "access token": ({"at_hash": "x" * 22}, "'at_hash'"),
}
FORGED: dict[str, tuple[Callable[[Claims], str], str]] = {
    "alg none": (unsigned, "'none' is not allowed"),
    "HMAC with the secret": (by_hand("HS256", CLIENT_SECRET.encode()), "'HS256' is not allowed"),
    "HMAC with the public key": (by_hand("HS256", KEYS[0].as_pem(private=False)), "'HS256' is not allowed"),
    "a stranger's key": (signed_by(STRANGER), "bad_signature"),
    "a key that is not published": (signed_by(KEYS[1]), "No key for kid: 'second'"),
    "no token at all": (lambda claims: "", "ID token"),
    "no JSON inside": (lambda claims: "a.b.c", "ID token"),
}


class Log:
    """What is said to the log."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, event: str, **more: object) -> None:
        self.said.append(f"{event}: {more}")


@pytest.mark.parametrize("fault", [*SPOILT, *FORGED])
def test_a_token_that_is_not_for_this_sign_in_signs_nobody_in(
    desk: Desk, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    log = Log()
    monkeypatch.setattr(openid_pages, "_log", log)
    if fault in SPOILT:
        claims, reason = SPOILT[fault]
        provider.spoil = lambda made: made.update(claims)
    else:
        provider.sign, reason = FORGED[fault]
    browser, page = signed_in(desk, provider, "sub-ann")
    failed(page, 502, "went wrong")
    assert provider.asked["/token"] == 1
    assert browser.get("/review").status_code == 303
    assert people.everyone(desk.api.engine) == []
    (said,) = log.said
    assert reason in said.replace('"', "'").replace("\\'", "'")


def test_what_a_provider_may_do_otherwise(desk: Desk, provider: IdentityProvider) -> None:
    provider.spoil = lambda claims: claims.update(aud=[CLIENT_ID, "another"], azp=CLIENT_ID, at_hash=None)
    provider.document = {
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"],
        "code_challenge_methods_supported": None,
        "unheard_of": {"by": "us"},
    }
    goes_on_to(signed_in(desk, provider, "sub-ann")[1])


def test_keys_are_looked_up_once_more_when_they_change(desk: Desk, provider: IdentityProvider) -> None:
    signed_in(desk, provider, "sub-ann")
    signed_in(desk, provider, "sub-ann")
    assert provider.asked["/keys"] == 1
    provider.published, provider.signing = [KEYS[1]], KEYS[1]
    goes_on_to(signed_in(desk, provider, "sub-ann")[1])
    assert provider.asked["/keys"] == 2
    # A key that is nowhere costs one look for each sign-in, not more.
    provider.signing = KEYS[0]
    failed(signed_in(desk, provider, "sub-ann")[1], 502, "went wrong")
    assert provider.asked["/keys"] == 3


@pytest.mark.parametrize(
    "next",
    [
        "//elsewhere.example",
        "https://elsewhere.example/review",
        "/reviewer",
        "/review.example",
        "javascript:1",
        "\\\\x",
    ],
)
def test_nobody_is_led_elsewhere(desk: Desk, provider: IdentityProvider, next: str) -> None:
    assert goes_on_to(signed_in(desk, provider, "sub-ann", next=next)[1]) == "/review"
    # Nor by a cookie of another's making.
    browser = desk.browser()
    answer = provider.approve(begin(browser), "sub-ann")
    attempt = Attempt.of_cookie(browser.cookies["vg_openid"])
    assert attempt is not None
    forged = Attempt(attempt.state, attempt.nonce, attempt.verifier, next)
    browser.cookies.clear()
    browser.cookies.set("vg_openid", forged.cookie())
    assert goes_on_to(browser.get(path_of(answer))) == "/review"


DISCOVERY, TOKEN = "/realms/staff/.well-known/openid-configuration", "/token"
WRONG: dict[str, tuple[str, Response, int]] = {
    "down": (DISCOVERY, HTMLResponse("down", 503), 502),
    "a page": (DISCOVERY, HTMLResponse("<h1>Welcome</h1>"), 502),
    "a list": (DISCOVERY, JSONResponse([]), 502),
    "empty": (DISCOVERY, JSONResponse({}), 502),
    "elsewhere": (
        DISCOVERY,
        Response(status_code=302, headers={"location": "https://elsewhere.example"}),
        502,
    ),
    "token: down": (TOKEN, HTMLResponse("down", 500), 502),
    "token: a page": (TOKEN, HTMLResponse("<h1>Welcome</h1>"), 502),
    "token: a list": (TOKEN, JSONResponse([]), 502),
    "token: empty": (TOKEN, JSONResponse({}), 502),
    "token: wrong types": (
        TOKEN,
        JSONResponse({"id_token": 7, "access_token": [], "expires_in": "soon"}),
        502,
    ),
    "token: refused": (TOKEN, JSONResponse({"error": "invalid_client"}, 401), 502),
    "keys: a page": ("/keys", HTMLResponse("<h1>Welcome</h1>"), 502),
    "keys: empty": ("/keys", JSONResponse({"keys": []}), 502),
    "keys: none": ("/keys", JSONResponse({"keys": [7, {"kty": "RSA", "n": "!"}]}), 502),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_a_page_with_a_next_step(
    desk: Desk, provider: IdentityProvider, wrong: str
) -> None:
    path, answer, status = WRONG[wrong]
    provider.answers[path] = answer
    browser = desk.browser()
    if path == DISCOVERY:
        page = browser.get("/review/oidc/start")
    else:
        page = browser.get(path_of(provider.approve(begin(browser), "sub-ann")))
    failed(page, status, "went wrong")
    assert "Sign in by password" in page.text
    assert desk.signed_in("pat").get("/review").status_code == 200


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "ftp://elsewhere.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": 7},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ],
)
def test_a_document_that_can_not_be_right_is_refused(
    desk: Desk, provider: IdentityProvider, document: Claims
) -> None:
    provider.document = document
    failed(desk.browser().get("/review/oidc/start"), 502, "went wrong")


def test_a_provider_that_does_not_answer_is_left_alone_for_a_while(
    desk: Desk, provider: IdentityProvider
) -> None:
    with serving() as gone:
        issuer = gone.issuer
    set_up(desk, oidc_issuer=issuer)
    for _ in range(2):
        failed(desk.browser().get("/review/oidc/start"), 503, "does not work just now")
    assert "signed out of VoiceGuard" in desk.browser().get("/review/sign-in?signed_out=true").text
    assert desk.signed_in("pat").get("/review").status_code == 200
    # It comes back after it was asked once: the next minute's sign-in works.
    provider.answers[DISCOVERY] = HTMLResponse("down", 503)
    set_up(desk)
    for _ in range(3):
        assert desk.browser().get("/review/oidc/start").status_code in (502, 503)
    assert provider.asked[DISCOVERY] == 1


def test_a_refusal_of_the_provider_is_said_in_our_words(desk: Desk, provider: IdentityProvider) -> None:
    browser = desk.browser()
    asked = dict(parse_qsl(urlsplit(begin(browser)).query))
    answer = {"error": "access_denied", "error_description": "Call 555-0100 now", "state": asked["state"]}
    page = browser.get("/review/oidc/callback", params=answer)
    failed(page, 403, "You were not signed in with Staff ID")
    assert "555-0100" not in page.text


@pytest.mark.parametrize("issuer", [None, "https://elsewhere.example"])
def test_an_answer_says_whose_it_is(desk: Desk, provider: IdentityProvider, issuer: str | None) -> None:
    browser = desk.browser()
    asked = dict(parse_qsl(urlsplit(provider.approve(begin(browser), "sub-ann")).query))
    asked = {name: value for name, value in (asked | {"iss": issuer}).items() if value is not None}
    failed(browser.get("/review/oidc/callback", params=asked), 502, "went wrong")
    assert provider.asked["/token"] == 0


@pytest.mark.parametrize(
    ("settings", "claims", "enough"),
    [
        ({"oidc_acr": ["gold", "silver"]}, {"acr": "silver"}, True),
        ({"oidc_acr": ["gold", "silver"]}, {"acr": "bronze"}, False),
        ({"oidc_acr": ["gold"]}, {}, False),
        ({"oidc_acr": ["gold"]}, {"acr": ["gold"]}, False),
        ({"oidc_amr": ["mfa"]}, {"amr": ["pwd", "mfa"]}, True),
        ({"oidc_amr": ["mfa", "hwk"]}, {"amr": ["hwk"]}, True),
        ({"oidc_amr": ["mfa"]}, {"amr": ["pwd"]}, False),
        ({"oidc_amr": ["mfa"]}, {}, False),
    ],
)
def test_a_way_of_signing_in_can_be_asked_for(
    desk: Desk, provider: IdentityProvider, settings: dict[str, Any], claims: Claims, enough: bool
) -> None:
    set_up(desk, **settings)
    provider.people["sub-ann"] |= claims
    browser = desk.browser()
    address = begin(browser)
    assert dict(parse_qsl(urlsplit(address).query)).get("acr_values") == (
        " ".join(settings["oidc_acr"]) if "oidc_acr" in settings else None
    )
    page = browser.get(path_of(provider.approve(address, "sub-ann")))
    if enough:
        goes_on_to(page)
    else:
        failed(page, 403, "Sign in by another way")


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["x", "vg-leads"]}}),
        ("https://example.org/roles", {"https://example.org/roles": "vg-leads"}),
        ("a.b", {"a.b": ["vg-leads"], "a": {"b": ["vg-admins"]}}),
    ],
)
def test_the_role_may_stand_in_another_claim(
    desk: Desk, provider: IdentityProvider, claim: str, claims: Claims
) -> None:
    set_up(desk, oidc_role_claim=claim)
    provider.people["sub-ann"] |= claims
    signed_in(desk, provider, "sub-ann")
    assert account(desk, "ann").role is Role.SUPERVISOR


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Ann.Smith@Example.org", "ann.smith@example.org"),
        ("José  Núñez", "jose-nunez"),
        (" -ann- ", "ann"),
        ("a" * 80, "a" * 64),
        ("李明", "person-"),
        ("", "person-"),
        (None, "person-"),
        (["ann"], "person-"),
    ],
)
def test_an_account_gets_a_name_of_the_form_that_names_have(
    desk: Desk, provider: IdentityProvider, said: Any, name: str
) -> None:
    provider.people["sub-ann"]["preferred_username"] = said
    goes_on_to(signed_in(desk, provider, "sub-ann")[1])
    (user,) = people.everyone(desk.api.engine)
    assert user.name == name or (name == "person-" and re.fullmatch("person-[0-9a-f]{12}", user.name))


def test_signing_out_ends_the_session_and_offers_to_sign_out_there(
    desk: Desk, provider: IdentityProvider
) -> None:
    browser, _ = signed_in(desk, provider, "sub-ann")
    answer = browser.post("/review/sign-out", data={"csrf": csrf(browser.get("/review"))})
    assert browser.get("/review").status_code == 303
    page = browser.get(answer.headers["location"])
    assert "You are signed out of VoiceGuard" in page.text
    assert "/review/oidc/sign-out" in page.text
    there = browser.get("/review/oidc/sign-out").headers["location"]
    assert httpx2.get(there).headers["location"] == f"{HOME}/review/sign-in"
    assert rows(desk, account(desk, "ann").id)[-1] == "user.signed_out"
    # Of a provider that has no such address nothing is said.
    provider.document = {"end_session_endpoint": None}
    set_up(desk)
    assert "/review/oidc/sign-out" not in browser.get("/review/sign-in?signed_out=true").text
    assert browser.get("/review/oidc/sign-out").status_code == 404


def test_passwords_can_be_off_and_the_secret_in_a_file(provider: IdentityProvider, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(CLIENT_SECRET + "\n")
    settings = {
        "public_url": HOME,
        "review_https": True,
        "password_sign_in": False,
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret_file": file,
        "oidc_name": "Staff ID",
        "oidc_roles": ROLES,
    }
    with running(tmp_path / "data", **settings) as desk:
        provider.people["sub-ann"]["groups"] = ["vg-admins"]
        made = desk.account("pat", Role.ADMIN)
        page = desk.browser().get("/review/sign-in")
        assert "password" not in page.text.lower()
        form = {"name": "pat", "password": PASSWORD, "code": code(desk)}
        assert desk.browser().post("/review/sign-in", data=form).status_code == 403
        assert account(desk, "pat").signed_in_at is None
        browser = TestClient(
            desk.api.client.app, "https://testserver", raise_server_exceptions=False, follow_redirects=False
        )
        page = browser.get(path_of(provider.approve(begin(browser), "sub-ann")))
        goes_on_to(page)
        for one in page.headers.get_list("set-cookie"):
            assert one.startswith("__Host-vg_")
            assert {"secure", "httponly", "path=/"} <= set(one.lower().split("; "))
        page = browser.get("/review/people")
        assert "open by themselves" in page.text
        assert 'action="/review/people"' not in page.text
        said = {"csrf": csrf(page), "name": "eve", "role": "admin"}
        assert browser.post("/review/people", data=said).status_code == 403
        assert {user.name for user in people.everyone(desk.api.engine)} == {"ann", made.user.name}


def test_without_settings_there_is_no_such_sign_in(tmp_path: Path) -> None:
    with running(tmp_path) as desk:
        browser = desk.browser()
        assert "/review/oidc" not in browser.get("/review/sign-in").text
        for path in ("start", "callback", "sign-out"):
            assert browser.get(f"/review/oidc/{path}").status_code == 404


def test_the_secret_is_nowhere_to_be_read(desk: Desk) -> None:
    settings = desk.api.settings
    key = signing.open_key(settings)
    for text in (
        repr(settings),
        str(settings.model_dump()),
        json.dumps(custody.configuration(settings, key)),
    ):
        assert CLIENT_SECRET not in text
    with pytest.raises(ValueError, match="oidc_roles") as caught:
        Settings(**{**settings.model_dump(), "oidc_client_secret": CLIENT_SECRET, "oidc_roles": {}})
    assert CLIENT_SECRET not in str(caught.value)


def test_what_is_missing_is_said_at_the_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = desk.api.settings.model_copy(update={"oidc_client_secret": None})
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for file in (tmp_path / "gone", empty):
        with pytest.raises(OpenIDError, match="Expected the client's secret"):
            open_service(settings.model_copy(update={"oidc_client_secret_file": file}))
    for name in [name for name in sys.modules if name.split(".")[0] == "authlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "authlib", None)
    for name in ("openid_client", "id_token"):
        monkeypatch.delitem(sys.modules, f"voiceguard.review.{name}")
    with pytest.raises(OpenIDError, match=r"voiceguard-screening\[oidc\]"):
        open_service(desk.api.settings)


@given(st.one_of(st.text(), st.from_regex(r"([A-Za-z0-9_-]{43}\.){3}[A-Za-z0-9_-]{0,9}", fullmatch=True)))
def test_any_cookie_is_read_or_refused(value: str) -> None:
    attempt = Attempt.of_cookie(value)
    assert attempt is None or Attempt.of_cookie(attempt.cookie()) == attempt


def test_an_attempt_comes_back_from_its_cookie() -> None:
    attempt = Attempt.new("/review?" + urlencode({"number": "+1202", "view": "é"}))
    assert Attempt.of_cookie(attempt.cookie()) == attempt
    assert len({attempt.state, attempt.nonce, attempt.verifier}) == 3
    assert len(Attempt.new("/review?" + "x" * 5000).cookie()) < 3000
