"""The commands of docs/cases, run; and what the pages say, held against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_notices import World, world
from tests.api.test_webhook_docs import _shell
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import hotline, links
from voiceguard.settings import Settings

__all__ = ["world"]

DOCS = Path(__file__).parents[2] / "docs" / "cases"


def _page(name: str) -> str:
    return (DOCS / name).read_text()


def _scripts(name: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", _page(name), re.MULTILINE | re.DOTALL)


def test_the_pages_say_what_the_code_does() -> None:
    hours = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (\d+) \|$", _page("send-a-notice.md"), re.MULTILINE))
    assert {kind: float(value) for kind, value in hours.items()} == Settings().notice_hours
    assert f"for {links.LIFETIME.days} days" in _page("send-a-notice.md")
    assert f"every {hotline.PAGE_EVERY.seconds // 60} minutes" in _page("hotline.md")
    assert (hotline.PAGES, hotline.REMIND_AT, len(hotline.LATE_AGAIN)) == (4, (0.5, 0.9), 4)
    assert f"{acts.MAX_ATTACHMENT_BYTES // 2**20} MiB" in _page("build-a-case.md")


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\(([a-z-]+\.md)\)", _page("README.md")))
    assert listed == {path.name for path in DOCS.glob("*.md")} - {"README.md"}


@pytest.mark.slow
def test_the_commands_for_providers_work(
    world: World,
    tmp_path: Path,
    short_clip_file: Path,
) -> None:
    import contextlib
    import socket
    import threading

    import uvicorn

    from voiceguard.api.app import create_app

    @contextlib.contextmanager
    def _served() -> Any:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(create_app(world.api.settings), log_config=None))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
            thread.join()

    notice, second = world.notice(), world.notice()
    listing, acknowledge, exhibits, answer, dispute = _scripts("answer-a-notice.md")
    report, follow = _scripts("report-a-call.md")
    with _served() as url:
        given = {"VOICEGUARD": url, "KEY": world.gate, "NOTICE": notice.id, "SECOND": second.id}
        assert notice.id in _shell(listing, **given)
        assert json.loads(_shell(acknowledge, **given))["state"] == "acknowledged"
        assert "calling_tn" in _shell(f"cd '{tmp_path}'\n{exhibits}", **given)
        assert (tmp_path / "evidence.zip").read_bytes().startswith(b"PK")
        assert json.loads(_shell(answer, **given))["state"] == "answered"
        assert json.loads(_shell(dispute, **given))["state"] == "disputed"
        reported = json.loads(_shell(report, **given, RECORDING=str(short_clip_file)))
        assert json.loads(_shell(follow, **given, REPORT=reported["id"]))["progress"] == "received"


@pytest.fixture
def short_clip_file(audio_samples: Path) -> Path:
    return audio_samples / "ringing-ulaw.wav"
