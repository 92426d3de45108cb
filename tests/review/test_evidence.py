"""Evidence packages from the review pages: whole, verified, and only for roles that see whole numbers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from tests.review.conftest import Desk, unlike
from voiceguard.enforcement import changes
from voiceguard.evidence.verify import verify
from voiceguard.store import audit
from voiceguard.store.audit import Action
from voiceguard.store.engine import reading
from voiceguard.store.people import Role


def _take(desk: Desk, path: str, to: Path) -> None:
    answer = desk.signed_in("sue", Role.SUPERVISOR).get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    to.write_bytes(answer.content)
    steps = list(verify(to))
    assert all(step.state != "failed" for step in steps), steps


def test_a_supervisor_takes_a_call_along(desk: Desk, flagged: bytes, tmp_path: Path) -> None:
    call_id = desk.call(flagged)
    page = desk.signed_in("sue", Role.SUPERVISOR).get(f"/review/calls/{call_id}")
    assert f"/review/calls/{call_id}/evidence" in page.text
    assert "/evidence" not in desk.signed_in("ann").get(f"/review/calls/{call_id}").text
    _take(desk, f"/review/calls/{call_id}/evidence", tmp_path / "call.zip")
    with reading(desk.api.engine) as connection:
        made = audit.rows_of(connection, {call_id})[-1]
    assert made.fields["action"] == Action.EVIDENCE_MADE
    assert made.fields["actor"] == desk.accounts["sue"].user.id


def test_a_campaign_goes_along_whole_also_by_the_id_of_one_that_was_merged(
    desk: Desk, flagged: bytes, clip: bytes, tmp_path: Path
) -> None:
    ids = [desk.call(audio) for audio in (flagged, unlike(clip, 1), unlike(clip, 2))]
    found = [desk.api.get(f"/v1/calls/{call_id}").json()["campaign_id"] for call_id in ids]
    assert found[0] != found[1] == found[2]
    now = dt.datetime.now(dt.UTC)
    changes.merge(desk.api.engine, found[:2], actor="sue", reason="one sender", now=now)
    for number, campaign_id in enumerate(found[:2]):
        _take(desk, f"/review/campaigns/{campaign_id}/evidence", tmp_path / f"{number}.zip")
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


def test_what_is_not_there_is_said_on_a_page(desk: Desk) -> None:
    sue = desk.signed_in("sue", Role.SUPERVISOR)
    for path in ("calls/call_" + "0" * 32, "campaigns/campaign_" + "0" * 32):
        answer = sue.get(f"/review/{path}/evidence")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
