"""Saved views: a person's own filters by name."""

from __future__ import annotations

import re

from tests.review.conftest import Desk, csrf
from voiceguard.store.people import Role


def test_a_view_is_saved_opened_and_deleted_by_its_owner_alone(desk: Desk) -> None:
    ann, bob = desk.signed_in("ann"), desk.signed_in("kim", Role.AUDITOR)
    listed = "state=all&provider=Prairie+%26+Voice&verdict=synthetic&score=4.5"
    form = {"csrf": csrf(ann.get("/review")), "listed": listed + "&made=up&after=x", "name": "Strong <ones>"}
    saved = ann.post("/review/views", data=form)
    assert (saved.status_code, saved.headers["location"]) == (303, f"/review?{listed}")
    page = ann.get(f"/review?{listed}").text
    assert "Strong &lt;ones&gt;" in page
    (seq,) = re.findall(r"/review/views/(\d+)/delete", page)
    (address,) = re.findall(r'href="(/review[^"]*)" aria-current="true"', page)
    assert 'value="Prairie &amp; Voice"' in ann.get(address.replace("&amp;", "&")).text
    assert ann.post("/review/views", data=form).status_code == 409
    assert ann.post("/review/views", data=form | {"name": " "}).status_code == 409
    assert ann.post("/review/views", data=form | {"name": "x" * 65}).status_code == 409
    others = bob.get("/review")
    assert "&lt;ones&gt;" not in others.text
    assert bob.post(f"/review/views/{seq}/delete", data={"csrf": csrf(others)}).status_code == 404
    assert ann.post(f"/review/views/{seq}/delete", data=form).status_code == 303
    assert "&lt;ones&gt;" not in ann.get("/review").text


def test_no_more_views_than_a_page_can_hold(desk: Desk) -> None:
    ann = desk.signed_in("ann")
    form = {"csrf": csrf(ann.get("/review")), "listed": ""}
    answers = [ann.post("/review/views", data=form | {"name": f"view {n}"}).status_code for n in range(31)]
    assert answers == [303] * 30 + [409]
