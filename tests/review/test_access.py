"""Each role at each page and route; what is masked; what is recorded."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.review.conftest import Desk, csrf, version
from voiceguard.review.access import RIGHTS, Right
from voiceguard.review.routes import router
from voiceguard.store import audit
from voiceguard.store.engine import reading
from voiceguard.store.people import Role

NEEDS = {
    ("GET", ""): Right.READ,
    ("GET", "/campaigns"): Right.READ,
    ("GET", "/campaigns/{campaign_id}"): Right.READ,
    ("GET", "/calls/{call_id}"): Right.READ,
    ("GET", "/calls/{call_id}/audio/{channel}"): Right.READ,
    ("GET", "/calls/{call_id}/outline/{channel}"): Right.READ,
    ("GET", "/calls/{call_id}/spectrogram/{channel}"): Right.READ,
    ("GET", "/calls/{call_id}/cues/{channel}"): Right.READ,
    ("GET", "/calls/{call_id}/map/{channel}/{index}"): Right.READ,
    ("GET", "/agreement"): Right.READ,
    ("GET", "/figures"): Right.READ,
    ("GET", "/figures.csv"): Right.READ,
    ("GET", "/password"): Right.READ,
    ("GET", "/{rest:path}"): Right.READ,
    ("POST", "/password"): Right.READ,
    ("POST", "/purpose"): Right.READ,
    ("POST", "/sign-out"): Right.READ,
    ("POST", "/views"): Right.READ,
    ("POST", "/views/{seq}/delete"): Right.READ,
    ("POST", "/bulk"): Right.DECIDE,
    ("POST", "/calls/{call_id}/decide"): Right.DECIDE,
    ("POST", "/calls/undo/{seq}"): Right.DECIDE,
    ("POST", "/campaigns/{campaign_id}/decide"): Right.DECIDE,
    ("POST", "/campaigns/{campaign_id}/merge"): Right.CHANGE_CAMPAIGNS,
    ("POST", "/campaigns/{campaign_id}/split"): Right.CHANGE_CAMPAIGNS,
    ("GET", "/calls/{call_id}/evidence"): Right.EXPORT,
    ("GET", "/campaigns/{campaign_id}/evidence"): Right.EXPORT,
    ("GET", "/cases"): Right.READ,
    ("GET", "/cases/{case_id}"): Right.READ,
    ("GET", "/cases/{case_id}/attachments/{seq}"): Right.READ,
    ("GET", "/notices/{notice_id}"): Right.READ,
    ("GET", "/templates"): Right.READ,
    ("GET", "/hotline"): Right.READ,
    ("GET", "/providers"): Right.READ,
    ("POST", "/cases"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/add"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/remove"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/change"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/link"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/tasks"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/tasks/{seq}/done"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/notes"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/close"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/reopen"): Right.WORK_CASES,
    ("POST", "/cases/{case_id}/notices"): Right.WORK_CASES,
    ("POST", "/notices/{notice_id}/edit"): Right.WORK_CASES,
    ("POST", "/notices/{notice_id}/answer"): Right.WORK_CASES,
    ("POST", "/notices/{notice_id}/next"): Right.WORK_CASES,
    ("POST", "/notices/{notice_id}/send"): Right.SEND_NOTICES,
    ("POST", "/notices/{notice_id}/withdraw"): Right.SEND_NOTICES,
    ("POST", "/notices/{notice_id}/again/{message_id}"): Right.SEND_NOTICES,
    ("POST", "/templates/{kind}"): Right.SEND_NOTICES,
    ("POST", "/providers"): Right.SEND_NOTICES,
    ("POST", "/providers/{provider_id}"): Right.SEND_NOTICES,
    ("POST", "/providers/{provider_id}/contacts"): Right.SEND_NOTICES,
    ("POST", "/contacts/{contact_id}/remove"): Right.SEND_NOTICES,
    ("GET", "/cases/{case_id}/evidence"): Right.EXPORT,
    ("GET", "/cases/{case_id}/calls"): Right.EXPORT,
    ("GET", "/people"): Right.MANAGE_PEOPLE,
    ("POST", "/people"): Right.MANAGE_PEOPLE,
    ("POST", "/people/{name}/disable"): Right.MANAGE_PEOPLE,
}
OPEN = {
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/oidc/start"),
    ("GET", "/oidc/callback"),
    ("GET", "/oidc/sign-out"),
    ("GET", "/static/{version}/{name:path}"),
}
CALL = {"caller": "+12025550101", "callee": "+13035550142", "attestation": "B"}


@pytest.fixture(scope="module")
def call_id(desk: Desk, flagged: bytes) -> str:
    desk.call(flagged, **CALL)
    return desk.call(flagged, **CALL)


def routes() -> set[tuple[str, str]]:
    def walk(found: Any) -> Any:
        for route in found:
            if hasattr(route, "methods"):
                yield route
            else:
                yield from walk(route.original_router.routes)

    return {
        (method, route.path.removeprefix("/review"))
        for route in walk(router.routes)
        for method in route.methods
    }


def at(path: str, call_id: str) -> str:
    filled = {
        "call_id": call_id,
        "campaign_id": "campaign_" + "0" * 32,
        "channel": "0",
        "index": "0",
        "seq": "999999",
    }
    filled |= {"name": "nobody", "rest:path": "nothing", "kind": "traceback"}
    filled |= {
        f"{one}_id": f"{one}_{'0' * 32}" for one in ("case", "notice", "message", "provider", "contact")
    }
    return "/review" + re.sub(r"\{([a-z_:]+)\}", lambda match: filled[match[1]], path)


def test_every_route_is_listed_here() -> None:
    assert routes() == {*NEEDS, *OPEN}


@pytest.mark.parametrize(("method", "path"), sorted(NEEDS))
def test_each_role_at_each_route(desk: Desk, call_id: str, method: str, path: str) -> None:
    stranger = desk.browser().request(method, at(path, call_id))
    assert stranger.status_code == 303
    assert stranger.headers["location"].startswith("/review/sign-in")
    for role in Role:
        answer = desk.signed_in(role.value, role).request(method, at(path, call_id))
        allowed = NEEDS[method, path] in RIGHTS[role]
        if not allowed:
            assert answer.status_code == 403, (role, answer.text)
            assert "no right to" in answer.text
        elif method == "GET":
            assert answer.status_code in (200, 404), (role, answer.text)
        else:
            # It comes as far as the form, which has no token.
            assert answer.status_code in (403, 413), (role, answer.text)
            assert "no right to" not in answer.text


def test_a_form_without_its_token_or_from_elsewhere_does_nothing(desk: Desk, call_id: str) -> None:
    ann = desk.signed_in("ann")
    page = ann.get(f"/review/calls/{call_id}")
    form = {"action": "confirm", "reason": "synthetic_heard", "note": "flat", "version": version(page)}
    path = f"/review/calls/{call_id}/decide"
    assert ann.post(path, data=form).status_code == 403
    assert ann.post(path, data=form | {"csrf": "x" * 43}).status_code == 403
    token = {"csrf": csrf(page)}
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ann.post(path, data=form | token, headers=headers).status_code == 403
    assert "Nobody has decided" in ann.get(f"/review/calls/{call_id}").text


def test_numbers_are_masked_as_the_role_says(desk: Desk, call_id: str) -> None:
    seen = {role: desk.signed_in(role.value, role).get(f"/review/calls/{call_id}").text for role in Role}
    assert {role for role in Role if CALL["caller"] in seen[role]} == set(Role) - {Role.AUDITOR}
    assert {role for role in Role if CALL["callee"] in seen[role]} == {Role.SUPERVISOR, Role.ADMIN}
    # Who sees no whole numbers can't find one digit by digit either.
    for role in Role:
        found = desk.signed_in(role.value, role).get("/review", params={"state": "all", "number": "+13035"})
        assert ("No call matches" in found.text) == (role not in (Role.SUPERVISOR, Role.ADMIN))


def test_looks_and_plays_are_recorded_with_their_purpose(desk: Desk, call_id: str) -> None:
    ann = desk.signed_in("ann")
    page = ann.get("/review")
    ann.post("/review/purpose", data={"csrf": csrf(page), "purpose": "court", "back": "/review"})
    ann.get(f"/review/calls/{call_id}")
    whole = ann.get(f"/review/calls/{call_id}/audio/0")
    part = ann.get(f"/review/calls/{call_id}/audio/0", headers={"Range": "bytes=100-199"})
    assert (whole.status_code, part.status_code, part.content) == (200, 206, whole.content[100:200])
    with reading(desk.api.engine) as connection:
        rows = [row.fields for row in audit.rows_of(connection, [call_id])][-2:]
    assert [row["action"] for row in rows] == ["call.viewed", "call.played"]
    assert {row["data"]["purpose"] for row in rows} == {"court"}


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(desk: Desk, call_id: str) -> None:
    page = desk.signed_in("ann").get(f"/review/calls/{call_id}")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"(src|href|action)=\"(https?:)?//", page.text)
    assert not re.search(r"<style|<script(?![^>]*src)|\son[a-z]+=|\sstyle=", page.text)
    assert page.headers["cache-control"] == "no-store"


def test_signing_in_over_the_page(desk: Desk) -> None:
    import datetime as dt

    import pyotp

    account = desk.account("page", Role.ANALYST)
    browser = desk.browser()
    code = pyotp.TOTP(account.totp_secret or "").at(dt.datetime.now(dt.UTC))
    form = {"name": "page", "password": "correct horse battery", "code": code, "next": "//elsewhere.example"}
    assert browser.post("/review/sign-in", data=form | {"password": "wrong"}).status_code == 401
    answer = browser.post("/review/sign-in", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    page = browser.get("/review")
    assert page.status_code == 200
    browser.post("/review/sign-out", data={"csrf": csrf(page)})
    assert browser.get("/review").status_code == 303


def test_two_reviewers_at_once_over_the_pages(desk: Desk, flagged: bytes, call_id: str) -> None:
    mine = desk.call(flagged, **CALL)
    browsers = [desk.signed_in(name) for name in ("ann", "bob")]
    pages = [browser.get(f"/review/calls/{mine}") for browser in browsers]
    answers = [
        browser.post(
            f"/review/calls/{mine}/decide",
            data={
                "csrf": csrf(page),
                "version": version(page),
                "action": action,
                "reason": reason,
                "note": note,
            },
        )
        for browser, page, action, reason, note in zip(
            browsers,
            pages,
            ("confirm", "dismiss"),
            ("synthetic_heard", "person_heard"),
            ("even rhythm", "breathes"),
            strict=True,
        )
    ]
    assert answers[0].status_code == 303
    assert "ann decided this call while you had it open" in answers[1].text
    history = desk.signed_in("sue", Role.SUPERVISOR).get(f"/review/calls/{mine}").text
    assert "even rhythm" in history
    assert "breathes" in history
    assert "Escalated" in history


def test_a_first_opinion_is_hidden_from_the_second_reviewer(desk: Desk, flagged: bytes) -> None:
    mine = desk.call(flagged, **CALL)
    ann = desk.signed_in("ann")
    page = ann.get(f"/review/calls/{mine}")
    form = {"csrf": csrf(page), "version": version(page), "action": "second", "reason": "unsure"}
    ann.post(f"/review/calls/{mine}/decide", data=form | {"note": "sounds like a reader"})
    bob = desk.signed_in("bob").get(f"/review/calls/{mine}").text
    assert "It is hidden until you have decided" in bob
    assert "sounds like a reader" not in bob
    assert "sounds like a reader" in ann.get(f"/review/calls/{mine}").text


def test_a_campaign_is_decided_whole_and_taken_back(desk: Desk, flagged: bytes, call_id: str) -> None:
    ann = desk.signed_in("ann")
    campaign = re.search("campaign_[0-9a-f]{32}", ann.get(f"/review/calls/{call_id}").text)
    assert campaign is not None
    path = f"/review/campaigns/{campaign[0]}"
    page = ann.get(path)
    form = {"csrf": csrf(page), "version": version(page), "action": "confirm", "reason": "synthetic_heard"}
    answer = ann.post(f"{path}/decide", data=form | {"note": "the same words"})
    assert answer.status_code == 303
    done = ann.get(answer.headers["location"])
    assert "All of its calls are decided" in done.text
    # Somebody whose page is older is told, and what they wrote is still there.
    late = ann.post(f"{path}/decide", data=form | {"note": "my own words"})
    assert late.status_code == 409
    assert "my own words" in late.text
    undo = re.search(r"/review/calls/undo/\d+", done.text)
    assert undo is not None
    assert ann.post(undo[0], data={"csrf": csrf(done)}).status_code == 303
    assert "are open; the decision is for all of these" in ann.get(path).text


def test_what_strangers_wrote_is_shown_as_text(desk: Desk, flagged: bytes) -> None:
    mine = desk.call(flagged, **CALL, upstream_provider="<script>alert(1)</script>")
    page = desk.signed_in("ann").get(f"/review/calls/{mine}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
