from __future__ import annotations

import re
from collections.abc import Callable

from tests.api.conftest import Api, problem_of


def test_a_working_api_is_alive_and_ready(api: Api) -> None:
    assert api.client.get("/livez").json()["status"] == "ok"
    ready = api.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == dict.fromkeys(("database", "recordings", "model", "disk"), "ok")


def test_readiness_says_what_is_missing(start: Callable[..., Api]) -> None:
    api = start(min_free_bytes=2**60)
    response = api.client.get("/readyz")
    assert (response.status_code, problem_of(response)) == (503, "not_ready")
    checks = response.json()["checks"]
    assert checks["database"] == "ok"
    assert "VOICEGUARD_MIN_FREE_BYTES" in checks["disk"]


def test_metrics_count_requests_verdicts_and_seconds(api: Api, short_clip: bytes) -> None:
    api.post(short_clip, {"caller": "+12025550123"})
    api.client.get("/wp-login.php")
    text = api.client.get("/metrics").text
    assert re.search(
        r'^voiceguard_requests_total\{method="POST",route="/v1/calls",status="201"\} [1-9]', text, re.M
    )
    assert re.search(
        r'^voiceguard_requests_total\{method="any",route="none",status="404"\} [1-9]', text, re.M
    )
    assert re.search(r'^voiceguard_verdicts_total\{verdict="inconclusive"\} [1-9]', text, re.M)
    assert re.search(r"^voiceguard_screening_seconds_count [1-9]", text, re.M)
    assert re.search(r"^voiceguard_outbox_pending 0", text, re.M)
    assert re.search(r"^voiceguard_screening_workers 1", text, re.M)
    assert re.search(r'^voiceguard_model_info\{id=".+"\} 1', text, re.M)
    assert "2025550123" not in text
    assert "wp-login" not in text
