"""The case pages without a browser: what each role sees of a notice, what a form may hold, where files go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.review.conftest import Desk, csrf
from voiceguard.store import providers
from voiceguard.store.engine import reading
from voiceguard.store.people import Role

CALL = {"caller": "+12025550101", "callee": "+13035550142", "upstream_provider": "Gateway One"}


def _post(browser: Any, page: str, action: str, **form: Any) -> Any:
    files = form.pop("files", None)
    return browser.post(
        f"/review/{action}", data={"csrf": csrf(browser.get(f"/review/{page}")), **form}, files=files
    )


@pytest.fixture(scope="module")
def case(desk: Desk, flagged: bytes) -> str:
    """The path of a case about a flagged call."""
    call_id = desk.call(flagged, **CALL)
    answer = _post(desk.signed_in("ann"), "cases", "cases", title="Bail scam", objects=call_id)
    assert answer.status_code == 303
    return str(answer.headers["location"]).removeprefix("/review/")


@pytest.fixture(scope="module")
def notice(desk: Desk, case: str) -> str:
    """The path of a takedown request that was sent; it names the caller's number."""
    sue = desk.signed_in("sue", Role.SUPERVISOR)
    for name in ("Gateway One", "Lakeside Voice"):
        _post(
            sue,
            "providers",
            "providers",
            name=name,
            email="noc@gateway.example",
            origids="gw-1 gw-2",
            spid="123A",
        )
    with reading(desk.api.engine) as connection:
        provider = providers.named(connection, "gateway one")
    assert provider is not None
    assert provider.origids == ("gw-1", "gw-2")
    drafted = _post(sue, case, f"{case}/notices", kind="takedown", provider=provider.id)
    path = str(drafted.headers["location"]).removeprefix("/review/")
    assert _post(sue, path, f"{path}/send").status_code == 303
    return path


def test_a_notice_shows_numbers_and_links_as_the_role_may_see_them(desk: Desk, notice: str) -> None:
    seen = {role: desk.signed_in(role.value, role).get(f"/review/{notice}").text for role in Role}
    assert {role for role in Role if CALL["caller"] in seen[role]} == set(Role) - {Role.AUDITOR}
    # A link opens without a key: only who may take evidence along sees it whole.
    assert {role for role in Role if "signature=" in seen[role]} == {Role.SUPERVISOR, Role.ADMIN}
    assert all("appears to be a synthetic voice" in one for one in seen.values())


def test_an_answer_by_mail_is_written_down_and_leads_to_the_next(desk: Desk, case: str, notice: str) -> None:
    ann = desk.signed_in("ann")
    said = {"upstream_provider": "Lakeside Voice", "comment": "<script>alert(1)</script>"}
    assert _post(ann, notice, f"{notice}/answer", **said).status_code == 303
    page = ann.get(f"/review/{notice}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    drafted = _post(ann, notice, f"{notice}/next")
    following = ann.get(drafted.headers["location"]).text
    assert "The way back" in following
    assert "Send the notice" not in following  # that is a supervisor's
    again = _post(ann, notice, f"{notice}/answer", customer="x")
    assert again.status_code == 409
    assert "is answered" in again.text


def test_a_file_is_kept_and_comes_back_for_saving_only(desk: Desk, case: str) -> None:
    ann = desk.signed_in("ann")
    page = b'<script>alert("x")</script>'
    files = {"file": ('a"b\n.html', page, "text/html")}
    assert _post(ann, case, f"{case}/notes", text="Their page.", files=files).status_code == 303
    (path,) = re.findall(rf"/review/{case}/attachments/\d+", ann.get(f"/review/{case}").text)
    got = ann.get(path)
    assert got.content == page
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"].startswith("attachment; ")
    assert got.headers["x-content-type-options"] == "nosniff"


def test_the_list_of_calls_is_taken_along_by_who_sees_all_numbers(desk: Desk, case: str) -> None:
    sue = desk.signed_in("sue", Role.SUPERVISOR)
    as_csv = sue.get(f"/review/{case}/calls").text
    assert as_csv.startswith("call_datetime,calling_tn,called_tn,")
    assert CALL["callee"] in as_csv
    (row,) = sue.get(f"/review/{case}/calls?format=json").json()
    assert row["calling_tn"] == CALL["caller"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": ""}, "Expected a name"),
        ({"name": "X", "email": "no address"}, "Expected an e-mail address"),
        ({"name": "X", "spid": "a b"}, "Expected a service provider code"),
        ({"name": "gateway one"}, "in the list already"),
        ({"name": "X", "carrier": "carrier_x"}, "Expected a carrier"),
    ],
)
def test_a_provider_that_can_be_none_is_told(
    desk: Desk, notice: str, form: dict[str, str], said: str
) -> None:
    answer = _post(desk.signed_in("sue", Role.SUPERVISOR), "providers", "providers", **form)
    assert answer.status_code == 422
    assert said.lower() in answer.text.lower()


def test_a_template_that_says_too_much_is_not_saved(desk: Desk) -> None:
    sue = desk.signed_in("sue", Role.SUPERVISOR)
    answer = _post(
        sue, "templates", "templates/traceback", subject="Where from?", body="It is a synthetic voice."
    )
    assert answer.status_code == 409
    assert "appears to be a synthetic voice" in answer.text
    assert "It is a synthetic voice." in answer.text  # what was written is still there


def test_a_page_by_webhook_goes_to_no_private_address(desk: Desk) -> None:
    sue = desk.signed_in("sue", Role.SUPERVISOR)
    form = {"name": "Own", "webhook": "http://127.0.0.1/", "day0": "1"}
    assert _post(sue, "providers", "providers/agency/contacts", **form).status_code == 422
    assert (
        _post(
            sue, "providers", "providers/agency/contacts", **form | {"webhook": "https://8.8.8.8/"}
        ).status_code
        == 303
    )
    with reading(desk.api.engine) as connection:
        (own,) = providers.contacts(connection, None)
        assert own.days == "1000000"
