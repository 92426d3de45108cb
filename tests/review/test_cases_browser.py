"""A case from a campaign to its answers, in Chromium, with a provider's real client, webhooks and clock."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.api.conftest import unlike
from tests.api.server import answers
from tests.enforcement.mailbox import Mailbox
from tests.review.chromium import PASSWORD, Demonstration, launched
from tests.review.test_browser import FORMS, RULES, axe  # noqa: F401
from tests.webhooks.receiver import Receiver
from voiceguard.store import keys, migrate, people
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope
from voiceguard.store.people import Role

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0


class Town:
    """A running service, a mail server, a provider with keys, and a clock that is set by hand."""

    def __init__(self, folder: Path, mailbox: Mailbox) -> None:
        self.folder, self.mailbox = folder, mailbox
        self.ahead = folder / "ahead"
        self.ahead.write_text("0")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.engine = connect(f"sqlite:///{folder / 'voiceguard.db'}")
        migrate.upgrade(self.engine)
        account = people.create(self.engine, "ann", Role.ADMIN, password=PASSWORD)
        self.desk = Demonstration(self.url, self.engine, account)
        self.poster = keys.create(
            self.engine, "recorder", carrier="First Telecom", scopes=frozenset({Scope.CALLS_WRITE})
        )[1]
        scopes = frozenset({Scope.NOTICES, Scope.WEBHOOKS_WRITE})
        self.gate = keys.create(self.engine, "noc", carrier="Gateway One", scopes=scopes)[1]

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        environment = os.environ | {
            "VOICEGUARD_DATA_DIR": str(self.folder),
            "VOICEGUARD_SCREENING_WORKERS": "1",
            "VOICEGUARD_MIN_FREE_BYTES": "0",
            "VOICEGUARD_WEBHOOK_ALLOW_PRIVATE": "true",
            "VOICEGUARD_AGENCY": "The Bureau",
            "VOICEGUARD_MAIL_FROM": "notices@bureau.example",
            "VOICEGUARD_SMTP_PORT": str(self.mailbox.port),
        }
        command = [sys.executable, "-m", "tests.review.clocked_server", str(self.port), str(self.ahead)]
        server = subprocess.Popen(command, env=environment, cwd=ROOT)
        try:
            assert answers(self.url + "/livez", server), "the server did not start"
            yield
        finally:
            server.terminate()
            server.wait(60)
            self.engine.dispose()

    def ask(self, method: str, path: str, key: str, **more: Any) -> Any:
        answer = httpx2.request(
            method, self.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=120, **more
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    def forward(self, hours: float) -> None:
        self.ahead.write_text(str(float(self.ahead.read_text()) + hours * 3600))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, audio_samples: Path) -> Iterator[Town]:
    with Mailbox() as mailbox:
        town = Town(tmp_path_factory.mktemp("town"), mailbox)
        clip = (audio_samples / "synthetic-hibari-heart-flac.flac").read_bytes()
        said = {
            "started_at": "2026-03-01T14:05:00Z",
            "caller": "+12025550101",
            "callee": "+13035550142",
            "upstream_provider": "Lakeside Voice",
            "attestation": {"attest": "C", "origid": "7d9c2f6e-1111-4222-8333-444455556666"},
        }
        with town.serving():
            for audio in (clip, unlike(clip, 1)):
                files = {"audio": ("call.flac", audio), "call": (None, json.dumps(said), "application/json")}
                town.ask("POST", "/v1/calls", town.poster, files=files)
            yield town


def _until(true: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_case_from_a_campaign_to_the_origin(town: Town, axe: str) -> None:  # noqa: F811
    with launched() as browser, Receiver() as hooks, Receiver() as first, Receiver() as second:
        made = town.ask("POST", "/v1/webhooks", town.gate, json={"url": hooks.url, "events": ["notice.sent"]})
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        town.desk.sign_in(page)

        # The providers, and who is on duty at one of them.
        page.goto(town.url + "/review/providers")
        for name, mail in (("Gateway One", ""), ("Lakeside Voice", "noc@lakeside.example")):
            page.fill("#name-new", name)
            page.fill("#email-new", mail)
            if name == "Gateway One":
                page.select_option("#carrier-new", label="Gateway One")
                page.fill("#origids-new", "7d9c2f6e-1111-4222-8333-444455556666")
            page.get_by_role("button", name="Add the provider").click()
            page.get_by_role("heading", name=name).wait_for()
        for name, receiver in (("Day desk", first), ("Night desk", second)):
            card = page.locator("section", has=page.get_by_role("heading", name="Gateway One"))
            card.get_by_text("Add somebody").click()
            card.get_by_label("Name", exact=True).last.fill(name)
            card.get_by_label("Webhook", exact=True).fill(receiver.url)
            card.get_by_role("button", name="Add to the list").click()
            page.get_by_text(name).first.wait_for()

        # A case from the campaign.
        page.goto(town.url + "/review/campaigns")
        page.locator("tr[data-row] th a").first.click()
        page.fill("#case-new", "Bail scam")
        page.get_by_role("button", name="Open case").click()
        page.wait_for_url("**/review/cases/case_*")
        case = page.url
        assert page.get_by_text("2 calls, 2 of which appear to be a synthetic voice").count() == 1
        assert page.get_by_role("row", name=re.compile("Gateway Gateway One")).count() == 1

        # Cease and desist, by webhook and API; the provider acknowledges and answers.
        _draft(page, "Cease and desist", "Gateway One")
        assert page.get_by_text("appears to be a synthetic voice").count() >= 1
        page.get_by_role("button", name="Send the notice").click()
        page.get_by_text("Waits for an answer.").wait_for()
        _until(lambda: hooks.requests)
        event = Webhook(made["secret"]).verify(hooks.requests[0].body, hooks.requests[0].headers)
        assert (event["type"], event["data"]["kind"]) == ("notice.sent", "cease_and_desist")
        path = f"/v1/notices/{event['data']['notice_id']}"
        assert town.ask("GET", path, town.gate)["state"] == "sent"
        assert len(town.ask("GET", path + "/calls", town.gate)["data"]) == 2
        assert town.ask("POST", path + "/acknowledge", town.gate)["state"] == "acknowledged"
        town.ask("POST", path + "/answer", town.gate, json={"action_taken": "The trunk is closed."})
        page.reload()
        page.get_by_text("The trunk is closed.").wait_for()
        page.goto(case)
        assert page.locator(".heading").first.get_by_text("Answered").count() == 1

        # A traceback: Lakeside (by mail) ← Gateway One (by API) ← Blue Mesa, whose customer it was.
        _draft(page, "Traceback request", "Lakeside Voice")
        page.get_by_role("button", name="Send the notice").click()
        assert town.mailbox.wait(1)
        assert town.mailbox.mails[0]["to"] == "noc@lakeside.example"
        _answer(page, upstream_provider="Gateway One")
        page.get_by_role("button", name="Draft the next one, to Gateway One").click()
        page.get_by_role("button", name="Send the notice").click()
        page.get_by_text("Waits for an answer.").wait_for()
        path = "/v1/notices/" + page.url.rsplit("/", 1)[-1]
        town.ask("POST", path + "/answer", town.gate, json={"upstream_provider": "Blue Mesa"})
        page.reload()
        page.get_by_role("button", name="Draft the next one, to Blue Mesa").click()
        page.get_by_text("has no e-mail address and no API key").wait_for()
        third = page.url
        page.goto(town.url + "/review/providers")
        card = page.locator("section", has=page.get_by_role("heading", name="Blue Mesa"))
        card.get_by_text("Change Blue Mesa").click()
        card.get_by_label("E-mail for notices").fill("noc@mesa.example")
        card.get_by_role("button", name="Change").click()
        page.get_by_role("definition").filter(has_text="noc@mesa.example").wait_for()
        page.goto(third)
        page.get_by_role("button", name="Send the notice").click()
        page.get_by_text("Waits for an answer.").wait_for()
        _answer(page, customer="Dial LLC")
        assert page.get_by_text("the origin: Dial LLC").count() == 1
        page.goto(case)
        assert page.get_by_role("row", name=re.compile("Originating Blue Mesa")).count() == 1

        # A clock that runs out.
        _draft(page, "Traceback request", "Gateway One", urgent=True)
        page.get_by_role("button", name="Send the notice").click()
        _until(lambda: first.requests)
        late = page.url
        town.ask("POST", f"/v1/notices/{late.rsplit('/', 1)[-1]}/acknowledge", town.gate)
        assert second.requests == []
        town.forward(hours=24.1)
        _until(lambda: any(b"LATE: " in got.body for got in second.requests))
        page.goto(town.url + "/review/hotline")
        assert page.locator(".age.stale .tag", has_text="late").count() == 1
        page.goto(late)
        page.get_by_text("No answer in time.").wait_for()

        assert complaints == []
        cookies = context.cookies()
        context.close()
        paths = [
            case,
            late,
            *(f"{town.url}/review/{one}" for one in ("cases", "hotline", "providers", "templates")),
        ]
        for scheme, form in FORMS.items():
            context = browser.new_context(viewport=form, color_scheme=scheme, reduced_motion="reduce")
            context.add_cookies(cookies)
            found = {}
            for one in paths:
                page = context.new_page()
                page.goto(one, wait_until="load")
                page.evaluate(axe + ";0")
                violations = page.evaluate("rules => axe.run(document, rules)", {"runOnly": RULES})[
                    "violations"
                ]
                found[one] = [(what["id"], [node["html"] for node in what["nodes"]]) for what in violations]
                if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
                    found[one].append(("overflow", []))
                page.close()
            context.close()
            assert {one: what for one, what in found.items() if what} == {}


def _draft(page: Any, kind: str, provider: str, *, urgent: bool = False) -> None:
    if "/cases/" not in page.url:
        page.locator("nav.crumbs a").click()
        page.wait_for_url("**/review/cases/case_*")
    page.select_option("#kind", label=kind)
    page.select_option("#provider", label=provider)
    if urgent:
        page.get_by_label("Urgent: page who is on duty").check()
    page.get_by_role("button", name="Draft a notice").click()
    page.wait_for_url("**/review/notices/notice_*")


def _answer(page: Any, **said: str) -> None:
    page.get_by_text("Write it down").click()
    for name, value in said.items():
        page.fill(f"#answer-{name}", value)
    page.get_by_role("button", name="Take the answer").click()
    page.locator("#answer-title, .narrow h1").wait_for()
    assert page.locator("#answer-title").count() == 1, page.locator("main").inner_text()
