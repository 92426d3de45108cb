from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api
from voiceguard.api.models import CallIn
from voiceguard.store.keys import Scope

DOCS = Path(__file__).parents[2] / "docs" / "api"


def test_the_description_says_how_to_post(api: Api) -> None:
    spec = api.client.get("/openapi.json").json()
    body = spec["paths"]["/v1/calls"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["required"] == ["audio", "call"]
    assert set(body["schema"]["properties"]["call"]["properties"]) == set(CallIn.model_fields)
    CallIn.model_validate(body["example"]["call"])


def test_every_operation_under_v1_asks_for_a_key_and_lists_its_problems(api: Api) -> None:
    spec = api.client.get("/openapi.json").json()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1/"):
                assert operation["security"], (method, path)
                assert {"401", "403", "429"} <= set(operation["responses"]), (method, path)


def test_the_docs_list_every_member_and_filter(api: Api) -> None:
    spec = api.client.get("/openapi.json").json()
    posted = set(
        re.findall(
            r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", (DOCS / "post-calls.md").read_text(), re.M))
        )
    )
    assert posted == set(CallIn.model_fields)
    listed = set(
        re.findall(
            r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", (DOCS / "read-calls.md").read_text(), re.M))
        )
    )
    parameters = {one["name"] for one in spec["paths"]["/v1/calls"]["get"]["parameters"]}
    assert listed == parameters


@pytest.mark.slow
def test_no_generated_request_is_a_fault_of_ours(api: Api) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    secret = api.key(*Scope)
    spec = schemathesis.openapi.from_dict(api.client.get("/openapi.json").json())
    cases = st.one_of(*(one.ok().as_strategy() for one in spec.get_all_operations()))

    @settings(
        max_examples=5000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def _send(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://testserver", headers=api.auth(secret))
        sent = {name: value for name, value in sent.items() if name != "cookies"}
        for place, (name, (filename, data, *kind)) in enumerate(sent.get("files") or []):
            if not isinstance(data, str | bytes):  # httpx2 sends text and bytes only
                sent["files"][place] = (name, (filename, str(data), *kind))
        response = api.client.request(**sent)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            assert json.loads(response.content)["status"] == response.status_code

    _send()
