"""Signing in at an OpenID provider of another site, in Chromium, by keyboard: cookies, policies, pages."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.server import answers
from tests.review.chromium import launched
from tests.review.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, serving
from tests.review.test_browser import FORMS, RULES, SIZES, axe  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@dataclass
class Office:
    """A running service, and the provider that its people sign in at."""

    url: str
    provider: IdentityProvider


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    folder: Path = tmp_path_factory.mktemp("office")
    secret = folder / "secret"
    secret.write_text(CLIENT_SECRET)
    with serving("localhost") as provider:
        provider.redirect_uris = {f"{url}/review/oidc/callback"}
        provider.back_uris = {f"{url}/review/sign-in"}
        provider.people = {
            "sub-ann": {"preferred_username": "ann", "groups": ["vg-admins"]},
            "sub-bob": {"preferred_username": "bob", "groups": ["staff"]},
        }
        environment = os.environ | {
            "VOICEGUARD_DATA_DIR": str(folder),
            "VOICEGUARD_SCREENING_WORKERS": "1",
            "VOICEGUARD_LOG_LEVEL": "error",
            "VOICEGUARD_MIN_FREE_BYTES": "0",
            "VOICEGUARD_OIDC_ISSUER": provider.issuer,
            "VOICEGUARD_OIDC_CLIENT_ID": CLIENT_ID,
            "VOICEGUARD_OIDC_CLIENT_SECRET_FILE": str(secret),
            "VOICEGUARD_OIDC_NAME": "Staff ID",
            "VOICEGUARD_OIDC_ROLES": json.dumps({"vg-admins": "admin"}),
        }
        command = [sys.executable, "-m", "voiceguard", "serve", "--port", str(port)]
        server = subprocess.Popen(command, env=environment)
        try:
            assert answers(url + "/livez", server), "the server did not start"
            yield Office(url, provider)
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


def problems(page: Any, axe: str) -> list[Any]:  # noqa: F811
    """What axe-core finds, and what does not fit."""
    page.evaluate(axe + ";0")
    violations = page.evaluate("rules => axe.run(document, rules)", {"runOnly": RULES})["violations"]
    found: list[Any] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations]
    before = page.viewport_size
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
            found.append(f"overflow at {width}")
    page.set_viewport_size(before)
    return found


@pytest.mark.parametrize("scheme", sorted(FORMS))
def test_signs_in_and_out_by_keyboard(office: Office, browser: Any, axe: str, scheme: str) -> None:  # noqa: F811
    context = browser.new_context(viewport=FORMS[scheme], color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

    # A page from inside asks to sign in, and is where one arrives.
    page.goto(office.url + "/review/people")
    found = {"sign-in": problems(page, axe)}
    for _ in range(3):  # past the link to the content and the one to the queue
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Sign in with Staff ID"
    page.keyboard.press("Enter")
    page.wait_for_url(office.provider.url + "/authorize*")
    page.locator("select").focus()
    page.locator("select").select_option("sub-ann")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(office.url + "/review/people")
    assert page.locator(".who").inner_text().startswith("ann")
    assert page.locator("tbody tr", has_text="ann").get_by_text("Staff ID").count() == 1
    found["people"] = problems(page, axe)
    cookies = {one["name"]: one for one in context.cookies()}
    assert cookies.keys() == {"vg_session"}
    assert (cookies["vg_session"]["sameSite"], cookies["vg_session"]["httpOnly"]) == ("Strict", True)
    # Back leads to no used answer of the provider's.
    page.go_back()
    assert "code=" not in page.url

    page.goto(office.url + "/review")
    page.get_by_role("button", name="Sign out").press("Enter")
    page.wait_for_url(office.url + "/review/sign-in?signed_out=true")
    found["signed out"] = problems(page, axe)
    page.get_by_role("link", name="sign out there too").press("Enter")
    page.wait_for_url(office.url + "/review/sign-in")

    # Who has no role is told so, and can sign out there and try as somebody else.
    page.get_by_role("link", name="Sign in with Staff ID").press("Enter")
    page.locator("select").select_option("sub-bob")
    page.get_by_role("button").press("Enter")
    page.get_by_role("heading", name="You have no role in VoiceGuard").wait_for()
    found["no role"] = problems(page, axe)
    assert [said for said in complaints if "403" not in said] == []  # the page of the refusal itself
    page.get_by_role("link", name="Sign out of Staff ID").press("Enter")
    page.wait_for_url(office.url + "/review/sign-in")
    page.go_back()
    page.get_by_role("link", name="Try again with Staff ID").press("Enter")
    page.wait_for_url(office.provider.url + "/authorize*")
    context.close()
    assert {name: what for name, what in found.items() if what} == {}
