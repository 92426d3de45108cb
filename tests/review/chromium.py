"""Debian's Chromium, driven for real, over a demonstration that runs in a process of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import sqlalchemy as sa

from tests.api.server import answers
from voiceguard.review import demo
from voiceguard.settings import Settings
from voiceguard.store import people, schema
from voiceguard.store.engine import connect, reading
from voiceguard.store.people import NewAccount, Role

PASSWORD = "correct horse battery"


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
        )
        yield browser
        browser.close()


@dataclass
class Demonstration:
    """A filled service at an address, and an account with a second factor."""

    url: str
    engine: sa.Engine
    account: NewAccount

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[Demonstration]:
        chosen = Settings(data_dir=folder, review_random_share=0.1, log_level="error", min_free_bytes=0)
        demo.fill(chosen)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {
            "VOICEGUARD_DATA_DIR": str(folder),
            "VOICEGUARD_SCREENING_WORKERS": "1",
            "VOICEGUARD_REVIEW_SECOND_SHARE": "0",
            "VOICEGUARD_LOG_LEVEL": "error",
            "VOICEGUARD_MIN_FREE_BYTES": "0",
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "voiceguard", "serve", "--port", str(port)], env=environment
        )
        engine = connect(chosen.database_url)
        url = f"http://127.0.0.1:{port}"
        try:
            assert answers(url + "/livez", server), "the server did not start"
            yield cls(url, engine, people.create(engine, "ann", Role.ADMIN, password=PASSWORD))
        finally:
            server.terminate()
            server.wait(30)
            engine.dispose()

    def code(self) -> str:
        """A code that was not used yet: the present one, or the next one, which is good already."""
        with reading(self.engine) as connection:
            users = schema.users.c
            used = connection.scalar(sa.select(users.totp_step).where(users.id == self.account.user.id)) or 0
        step = max(int(dt.datetime.now(dt.UTC).timestamp()) // 30, used + 1)
        if step > int(dt.datetime.now(dt.UTC).timestamp()) // 30 + 1:
            time.sleep(30 - dt.datetime.now(dt.UTC).timestamp() % 30)
        return pyotp.TOTP(self.account.totp_secret or "").at(step * 30)

    def sign_in(self, page: Any) -> None:
        page.goto(self.url + "/review/sign-in")
        page.fill("#name", "ann")
        page.fill("#password", PASSWORD)
        page.fill("#code", self.code())
        page.keyboard.press("Enter")
        page.wait_for_url("**/review")

    def open(self, page: Any, path: str) -> None:
        """Open a page and wait until everything on it is there."""
        page.goto(self.url + path, wait_until="load")
        if page.locator("[data-player]").count():
            page.wait_for_selector("[data-player][data-ready]", timeout=90_000)
            page.wait_for_selector("[data-spectrogram]:not([hidden])", timeout=90_000)
            page.wait_for_selector("[data-cues] table", timeout=90_000)

    def pages(self) -> dict[str, str]:
        """Every page by name, in every state that it has here."""
        calls, screenings, reviews = schema.calls.c, schema.screenings.c, schema.reviews.c
        with reading(self.engine) as connection:

            def call(*conditions: Any) -> str:
                joined = schema.calls.join(schema.screenings).outerjoin(schema.reviews)
                query = sa.select(calls.id).select_from(joined).where(*conditions).order_by(calls.seq)
                return str(connection.execute(query.limit(1)).scalar_one())

            flagged = call(reviews.state == "open", screenings.verdict == "synthetic")
            human = call(screenings.verdict == "human")
            decided = call(reviews.state == "decided")
            second = call(reviews.state == "second")
            campaign = connection.execute(
                sa.select(schema.campaigns.c.id).order_by(schema.campaigns.c.calls.desc()).limit(1)
            ).scalar_one()
        return {
            "queue": "/review",
            "queue-decided": "/review?state=decided",
            "queue-all": "/review?state=all",
            "queue-none": "/review?number=%2B4930",
            "call": f"/review/calls/{flagged}",
            "call-human": f"/review/calls/{human}",
            "call-decided": f"/review/calls/{decided}",
            "call-second": f"/review/calls/{second}",
            "campaigns": "/review/campaigns",
            "campaigns-none": "/review/campaigns?decided=true",
            "campaign": f"/review/campaigns/{campaign}",
            "agreement": "/review/agreement",
            "figures": "/review/figures",
            "figures-days": "/review/figures?by=day",
            "figures-none": "/review/figures?first=2001-01-01&last=2001-03-01",
            "people": "/review/people",
            "password": "/review/password",
            "not-found": "/review/nothing",
        }
