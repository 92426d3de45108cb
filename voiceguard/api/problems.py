"""Every error that the API answers, as RFC 9457 problem details.

A problem's ``type`` is ``/problems/<code>``: the server explains each there, docs/problems.md lists them all.
Errors of `voiceguard.errors` are problems of their own code; what only HTTP knows is in `_HTTP` below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from voiceguard import errors
from voiceguard.api.pool import NoWorker
from voiceguard.enforcement.changes import CampaignError
from voiceguard.enforcement.links import InvalidLink, LinkExpired
from voiceguard.enforcement.notices import NoticeError
from voiceguard.errors import VoiceGuardError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem."""

    code: str
    status: int
    title: str
    remedy: str


_HTTP = (
    Kind("missing_key", 401, "The request carries no API key.", "Send Authorization: Bearer vg_…"),
    Kind(
        "invalid_key", 401, "The API key is unknown.", "Check that it was copied whole; or create a new one."
    ),
    Kind("expired_key", 401, "The API key has expired.", "Create a new one: voiceguard key create."),
    Kind("revoked_key", 401, "The API key was revoked.", "Create a new one: voiceguard key create."),
    Kind(
        "insufficient_scope", 403, "The API key lacks a scope.", "Create a key with the scope that is named."
    ),
    Kind(
        "not_found", 404, "There is nothing here.", "Check the address; other carriers' calls are not shown."
    ),
    Kind("method_not_allowed", 405, "The method is not allowed here.", "Use one that Allow names."),
    Kind("upload_too_slow", 408, "The upload took too long to arrive.", "Send it again over a better line."),
    Kind("in_flight", 409, "A request with this Idempotency-Key is being handled.", "Retry in a second."),
    Kind("webhook_disabled", 409, "The webhook is disabled.", "Enable it first: PATCH with enabled true."),
    Kind("too_many_webhooks", 409, "The carrier has as many webhooks as it may.", "Delete one first."),
    Kind("uuid_in_use", 409, "A call has been announced with this UUID.", "Announce each call with its own."),
    Kind("call_deleted", 410, "The call was deleted.", "Nothing; deleted_at and reason say when and why."),
    Kind("gone", 410, "What was here is gone.", "Nothing."),
    Kind("request_too_large", 413, "The request is larger than it may be.", "Send less."),
    Kind("unsupported_media_type", 415, "The body is of another type.", "Send multipart/form-data."),
    Kind("range_not_satisfiable", 416, "The recording has no such bytes.", "Ask within Content-Range."),
    Kind("malformed_request", 400, "The request can't be read.", "Correct what detail says."),
    Kind(
        "invalid_idempotency_key",
        400,
        "The Idempotency-Key can't be read.",
        "Send 1 to 255 characters in quotes.",
    ),
    Kind("invalid_request", 422, "The request says something it can't say.", "Correct what errors lists."),
    Kind(
        "idempotency_key_reused",
        422,
        "The Idempotency-Key was used with another request.",
        "Use a new key for each call; repeat a request as it was.",
    ),
    Kind("rate_limited", 429, "The API key made too many requests.", "Wait for Retry-After."),
    Kind(
        "too_many_uploads", 429, "The carrier has too many uploads at once.", "Wait for one to be answered."
    ),
    Kind(
        "too_many_streams",
        429,
        "The API key has as many live streams as it may.",
        "Wait until one ends, or raise VOICEGUARD_STREAM_MAX_PER_KEY.",
    ),
    Kind("client_error", 400, "The request can't be answered.", "Correct the request."),
    Kind(
        "internal_error",
        500,
        "VoiceGuard made a mistake.",
        "Report it with the request_id; the log has the cause.",
    ),
    Kind("overloaded", 503, "VoiceGuard has more to do than it can.", "Wait for Retry-After."),
    Kind("not_ready", 503, "VoiceGuard can't work now.", "See checks."),
)

_STATUS = {
    errors.AudioError: 422,
    errors.EmptyRecording: 422,
    errors.UnsupportedFormat: 415,
    errors.RefusedContainer: 415,
    errors.RecordingTooLarge: 413,
    errors.SignallingError: 422,
    errors.StoreError: 503,
    errors.StorageFull: 507,
    errors.RecordingMissing: 404,
    errors.ModelError: 503,
    errors.EvidenceError: 409,
    errors.SigningKeyError: 503,
    errors.TimestampError: 503,
    NoWorker: 503,
    CampaignError: 409,
    NoticeError: 409,
    InvalidLink: 403,
    LinkExpired: 410,
    VoiceGuardError: 500,
}
"""Status of an error, or of the nearest class above it."""

_ELSEWHERE = (
    "voiceguard.archive.",
    "voiceguard.enforcement.cases",
    "voiceguard.enforcement.decisions",
    "voiceguard.enforcement.templates",
    "voiceguard.enforcement.transfer",
    "voiceguard.review.",
    "voiceguard.store.people",
)
"""Modules whose errors no request of the API meets."""

RETRY_AFTER_S = 2
"""When to come back after a 503 whose end nobody can foresee."""


def _subclasses(kind: type[VoiceGuardError]) -> list[type[VoiceGuardError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in _subclasses(direct))]


def _kind_of(kind: type[VoiceGuardError]) -> Kind:
    status = next(_STATUS[above] for above in kind.__mro__ if above in _STATUS)
    return Kind(kind.code, status, (kind.__doc__ or "").split("\n", 1)[0], kind.remedy)


def kinds() -> dict[str, Kind]:
    """Return every kind of problem by its code; errors of the scan and of the review pages are not the API's."""
    known = {kind.code: kind for kind in _HTTP}
    for error in _subclasses(VoiceGuardError):
        if not error.__module__.startswith(_ELSEWHERE):
            known.setdefault(error.code, _kind_of(error))
    return dict(sorted(known.items()))


class Problem(Exception):
    """Ends a request with a problem.

    Parameters
    ----------
    code
        One of `kinds`.
    detail
        What was expected and what came, this time; the kind's title if None.
    headers
        Response headers.
    extensions
        Further members of the problem's JSON.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions


def response(request_id: str | None, problem: Problem) -> Response:
    """Return the response that tells of ``problem``."""
    return _render(kinds()[problem.code], request_id, problem.detail, problem.headers, problem.extensions)


def _render(
    kind: Kind,
    request_id: str | None,
    detail: str | None,
    headers: Mapping[str, str],
    extensions: Mapping[str, Any],
) -> Response:
    body = {
        "type": f"/problems/{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail or kind.title,
        "remedy": kind.remedy,
        "request_id": request_id,
        **extensions,
    }
    all_headers = dict(headers)
    if kind.status == 401:
        all_headers.setdefault("WWW-Authenticate", 'Bearer realm="voiceguard"')
    if kind.status in (503, 507):
        all_headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return JSONResponse(body, kind.status, all_headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make the app answer all errors as problems."""
    known = kinds()
    by_status = {
        404: "not_found",
        405: "method_not_allowed",
        413: "request_too_large",
        415: "unsupported_media_type",
    }

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return response(_id(request), error)

    @app.exception_handler(VoiceGuardError)
    async def _ours(request: Request, error: VoiceGuardError) -> Response:
        return _render(known[error.code], _id(request), str(error), {}, {})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405 and (methods := _methods(app, request.url.path)):
            headers["Allow"] = ", ".join(methods)  # Starlette names those of the first route only
        code = by_status.get(
            error.status_code, "client_error" if error.status_code < 500 else "internal_error"
        )
        return _render(known[code], _id(request), None, headers, {})

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return response(_id(request), invalid(error.errors()))


def invalid(found: Any) -> Problem:
    """Return the problem for pydantic's errors, without what was sent: it may be a phone number."""
    listed = [
        {"at": _place(error["loc"]), "message": error["msg"].removeprefix("Value error, ")} for error in found
    ]
    return Problem(
        "invalid_request", "; ".join(f"{error['at']}: {error['message']}" for error in listed), errors=listed
    )


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in loc)


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header that asks the client to wait."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that openapi.json lists for a request's path."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            return sorted(method.upper() for method in operations)
    return []


def _id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)
