from __future__ import annotations

import functools
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, problem_of
from voiceguard import errors
from voiceguard.api import problems
from voiceguard.api.app import create_app
from voiceguard.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@functools.cache
def _operations() -> list[tuple[str, str]]:
    spec = create_app(Settings()).openapi()
    return [(method.upper(), path) for path, methods in spec["paths"].items() for method in methods]


def _filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "x", path)


@pytest.mark.parametrize(("method", "path"), _operations())
def test_every_route_answers_its_errors_as_problems(api: Api, method: str, path: str) -> None:
    public = not path.startswith("/v1/")
    if not public:
        response = api.client.request(method, _filled(path))
        assert (response.status_code, problem_of(response)) == (401, "missing_key")
    if method == "POST":
        response = api.client.request(method, _filled(path), headers=api.auth(), content=b"\xff{")
        assert 400 <= response.status_code < 500
        problem_of(response)
    for other in METHODS:
        if (other, path) not in _operations():
            response = api.client.request(other, _filled(path), headers=api.auth())
            assert (response.status_code, problem_of(response)) == (405, "method_not_allowed")
            assert method in response.headers["allow"].split(", ")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/v1", "/v1/", "/v1/calls/", "/v1/nothing", "/%00", "/livez/x"]
)
def test_unknown_addresses_are_problems(api: Api, path: str) -> None:
    for method in METHODS:
        response = api.client.request(method, path)
        assert (response.status_code, problem_of(response)) == (404, "not_found")


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from voiceguard.store import calls

    def _fault(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(calls, "page", _fault)
    with caplog.at_level(logging.CRITICAL):
        response = api.get("/v1/calls")
    assert (response.status_code, problem_of(response)) == (500, "internal_error")
    assert "secret detail" not in response.text


def test_the_sender_may_name_the_request(api: Api) -> None:
    assert api.client.get("/livez", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert api.client.get("/livez", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"


def test_every_error_of_the_package_is_a_kind() -> None:
    known = problems.kinds()
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.VoiceGuardError):
            assert error.code in known


def test_every_kind_explains_itself(api: Api) -> None:
    listed = api.client.get("/problems")
    for kind in problems.kinds().values():
        assert kind.title.endswith("."), kind.code
        assert kind.remedy.endswith((".", "…")), kind.code
        assert 400 <= kind.status < 600
        page = api.client.get(f"/problems/{kind.code}")
        assert (page.status_code, kind.code in page.text) == (200, True)
        assert kind.code in listed.text


def test_the_docs_explain_every_kind_and_no_other() -> None:
    text = (DOCS / "problems.md").read_text()
    headings = re.findall(r"^## `([a-z_]+)` \((\d+)\)$", text, re.MULTILINE)
    assert headings == [(kind.code, str(kind.status)) for kind in problems.kinds().values()]
