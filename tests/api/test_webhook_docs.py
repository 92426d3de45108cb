from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from voiceguard.api.app import create_app
from voiceguard.api.delivery import TIMEOUT_S, signed_headers
from voiceguard.api.webhooks import MAX_WEBHOOKS
from voiceguard.settings import Settings
from voiceguard.store import deliveries, endpoints, keys, outbox
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope
from voiceguard.store.outbox import Claim, EventType

PAGE = (Path(__file__).parents[2] / "docs" / "api" / "webhooks.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
(PYTHON,) = [text for kind, text in BLOCKS if kind == "python"]
PATIENCE_S = 60


def _shell(script: str, **environment: str) -> str:
    if not all(shutil.which(tool) for tool in ("bash", "curl", "openssl")):
        pytest.skip("needs bash, curl and openssl")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve on a port of loopback; give out the address and a key for webhooks."""
    settings = Settings(data_dir=folder, screening_workers=1, min_free_bytes=0, webhook_allow_private=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # The connection waits in the listener's queue until the app is up.
        assert httpx2.get(f"{address}/livez", timeout=PATIENCE_S).status_code == 200
        engine = connect(settings.database_url)
        scopes = frozenset({Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE})
        _, secret = keys.create(engine, "webhooks", carrier="First Telecom", scopes=scopes)
        engine.dispose()
        yield address, secret
        server.should_exit = True
        thread.join()


def _objects(text: str) -> list[dict[str, Any]]:
    """Read JSON objects that follow each other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:]
    return found


@contextlib.contextmanager
def _receiver(port: int, secret: str) -> Iterator[subprocess.Popen[str]]:
    """Run the page's receiver, for so long at most."""
    process = subprocess.Popen(
        [sys.executable, "-c", PYTHON],
        env={**os.environ, "PORT": str(port), "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    end = threading.Timer(PATIENCE_S, process.kill)
    end.start()
    try:
        yield process
    finally:
        end.cancel()
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_commands_and_the_receiver_work_together(tmp_path: Path) -> None:
    create, _, listing, again, change = SHELL
    replay, trial = (f"curl{command}" for command in again.split("curl")[1:])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with _served(tmp_path) as (address, key):
        variables = {"VOICEGUARD": address, "KEY": key}
        create = create.replace("https://example.com/voiceguard", f"http://127.0.0.1:{port}/")
        (made,) = _objects(_shell(create, **variables))
        variables["WEBHOOK"] = made["id"]
        with _receiver(port, made["secret"]) as receiver:
            (sent,) = _objects(_shell(trial, **variables))
            assert receiver.stdout is not None
            assert receiver.stdout.readline() == f"webhook.test {{'webhook_id': '{made['id']}'}}\n"
        (listed,) = _objects(_shell(listing.replace("?state=pending", ""), **variables))
        (delivery,) = listed["data"]
        assert delivery["event_id"] == sent["event_id"]
        (replayed,) = _objects(_shell(replay, **variables, DELIVERY=delivery["id"]))
        assert replayed["event_id"] == sent["event_id"]
        disabled, enabled, rotated = _objects(_shell(change, **variables))
        assert (disabled["disabled_reason"], enabled["disabled_at"]) == ("disabled by its carrier", None)
        assert rotated["secret"] != made["secret"]


def test_the_signature_can_be_made_by_hand(tmp_path: Path) -> None:
    (sign,) = [script for script in SHELL if "openssl" in script]
    secret = endpoints.new_secret()
    body = '{"type":"webhook.test","data":{"name":"Bücher"}}'.encode()
    claim = Claim("delivery_1", "endpoint_1", "event_1", "lease", 0, "https://x.invalid", (secret,), body)
    headers = signed_headers(claim, dt.datetime.now(dt.UTC))
    (tmp_path / "body.json").write_bytes(body)
    made = _shell(
        f"cd '{tmp_path}'\n{sign}",
        WEBHOOK_SECRET=secret,
        WEBHOOK_ID=headers["webhook-id"],
        WEBHOOK_TIMESTAMP=headers["webhook-timestamp"],
    )
    assert made.strip() == headers["webhook-signature"]


def test_the_page_says_what_the_code_does() -> None:
    assert {f"`{kind}`" for kind in EventType} <= set(re.findall(r"`[a-z.]+`", PAGE))
    (example,) = [json.loads(text) for kind, text in BLOCKS if kind == "json"]
    assert set(example) == {"type", "timestamp", "data"}
    waits_s = [5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24))]
    assert "after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h" in " ".join(PAGE.split())
    assert list(outbox.RETRY_AFTER_S) == waits_s
    assert f"within {TIMEOUT_S:g} seconds" in PAGE
    assert f"may have {MAX_WEBHOOKS} webhooks" in PAGE
    assert (dt.timedelta(hours=24), dt.timedelta(days=30)) == (endpoints.SECRET_OVERLAP, deliveries.KEEP)
