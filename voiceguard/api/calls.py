"""Calls: post, read, list, listen; and a screening that leaves no trace."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from voiceguard.api import docs, intake
from voiceguard.api.auth import CallsReader, CallsWriter
from voiceguard.api.models import (
    CallIn,
    CallOut,
    CallPage,
    CallSummary,
    Moment,
    PhoneNumber,
    ScreenIn,
    ScreeningOut,
)
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service, ServiceDep
from voiceguard.screening import Screening
from voiceguard.store import audit, calls, campaigns, cursors, retention
from voiceguard.store.audit import Act, Action
from voiceguard.store.calls import Call, Filter
from voiceguard.store.engine import reading, writing
from voiceguard.store.keys import ApiKey
from voiceguard.verdict import Verdict

router = APIRouter(prefix="/v1", tags=["calls"])

_CALL_ID = re.compile("call_[0-9a-f]{32}")
_READ_BYTES = 1024 * 1024
_MEDIA_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "amr": "audio/amr",
}
"""Media type by container; others are octets, which browsers do not play anyway."""


@router.post(
    "/calls",
    status_code=201,
    response_model=CallOut,
    summary="Post a call",
    responses=docs.errors(400, 401, 403, 408, 409, 413, 415, 422, 429, 503, 507),
    openapi_extra=docs.multipart(CallIn, required=True),
)
async def post_call(
    request: Request,
    service: ServiceDep,
    key: CallsWriter,
    idempotency_key: Annotated[
        str | None,
        Header(description="Any text of your own, in quotes: a repeated request makes no second call."),
    ] = None,
) -> Response:
    """Store a call with its recording and screen it; the answer comes when all of it is on disk."""
    idempotent = intake.idempotency_key(idempotency_key)
    async with (
        intake.claimed(service, key, idempotent) as known,
        intake.receiving(request, service, key) as (incoming, form),
    ):
        answer, repeated = await intake.take(service, key, incoming, form, idempotent, known)
    headers = {"Location": f"/v1/calls/{answer.call_id}"}
    if repeated:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, answer.status, headers, media_type="application/json")


@router.post(
    "/screen",
    response_model=ScreeningOut,
    summary="Screen a recording, store nothing",
    responses=docs.errors(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
    openapi_extra=docs.multipart(ScreenIn, required=False),
)
async def post_screen(request: Request, service: ServiceDep, key: CallsWriter) -> ScreeningOut:
    """Screen a recording and forget it."""
    async with intake.receiving(request, service, key) as (incoming, form):
        options = intake.parse(ScreenIn, form.call) if form.call is not None else ScreenIn()
        return ScreeningOut.of(await intake.screen(service, incoming, form, options.remote_channel))


@router.get(
    "/calls",
    response_model=CallPage,
    summary="List calls",
    responses=docs.errors(401, 403, 422, 429, 503),
)
async def list_calls(
    service: ServiceDep,
    key: CallsReader,
    verdict: Verdict | None = None,
    caller: PhoneNumber | None = None,
    callee: PhoneNumber | None = None,
    campaign: Annotated[str | None, Query(max_length=64, pattern=r"^[\x20-\x7e]*$")] = None,
    carrier: Annotated[
        str | None,
        Query(
            max_length=64, pattern=r"^[\x20-\x7e]*$", description="A carrier's id; only your own has calls."
        ),
    ] = None,
    started_from: Annotated[Moment | None, Query(description="Calls that began then or later.")] = None,
    started_to: Annotated[Moment | None, Query(description="Calls that began before.")] = None,
    score_from: Annotated[
        float | None, Query(allow_inf_nan=False, description="Calls with this score or a higher one.")
    ] = None,
    score_to: Annotated[
        float | None, Query(allow_inf_nan=False, description="Calls with a lower score.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="next_cursor of the page before.")] = None,
) -> CallPage:
    """List the carrier's calls, latest arrival first."""
    try:
        before_seq = cursors.decode(cursor) if cursor is not None else None
    except ValueError as error:
        raise Problem(
            "invalid_request", str(error), errors=[{"at": "query.cursor", "message": str(error)}]
        ) from None
    if carrier is not None and carrier != key.carrier_id:
        return CallPage(data=[], next_cursor=None)
    wanted = Filter(
        carrier_id=key.carrier_id,
        verdict=verdict,
        caller=caller,
        callee=callee,
        started_from=started_from,
        started_to=started_to,
        score_from=score_from,
        score_to=score_to,
    )

    def _page() -> list[tuple[Call, Screening]]:
        with reading(service.engine) as connection:
            in_campaign = campaigns.resolve(connection, campaign) if campaign is not None else None
            survivor = in_campaign[1] if in_campaign else campaign
            return calls.page(
                connection,
                dataclasses.replace(wanted, campaign_id=survivor),
                before_seq=before_seq,
                limit=limit + 1,
            )

    found = await service.in_thread(_page)
    shown = found[:limit]
    return CallPage(
        data=[CallSummary.of(call, screening) for call, screening in shown],
        next_cursor=cursors.encode(shown[-1][0].seq) if len(found) > limit else None,
    )


@router.get(
    "/calls/{call_id}",
    response_model=CallOut,
    summary="Read a call",
    responses=docs.errors(401, 403, 404, 410, 429, 503),
)
async def get_call(service: ServiceDep, key: CallsReader, call_id: docs.CallId) -> CallOut:
    """Read one call with all that its screening says."""
    return CallOut.of(*await find(service, key, call_id))


@router.get(
    "/calls/{call_id}/audio",
    response_class=Response,
    summary="Fetch a call's recording",
    responses={
        200: {"description": "The recording, byte for byte as received.", "content": docs.AUDIO},
        206: {"description": "The bytes that Range names.", "content": docs.AUDIO},
        **docs.errors(401, 403, 404, 410, 416, 429, 503),
    },
)
async def get_audio(
    service: ServiceDep,
    key: CallsReader,
    call_id: docs.CallId,
    range_: Annotated[
        str | None, Header(alias="Range", description="One range, such as bytes=0-1023.")
    ] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Fetch the recording as it was received."""
    _, screening = await find(service, key, call_id)
    sha256, size = screening.sha256, screening.size_bytes
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{call_id}"',
    }
    if if_none_match is not None and f'"{sha256}"' in if_none_match:
        return Response(status_code=304, headers=headers)
    part = byte_range(range_, size)
    start, stop = part or (0, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    # Read before the answer begins, so that a missing recording is a problem and no torn body.
    first = await service.in_thread(
        partial(service.recordings.read, sha256, start, min(stop, start + _READ_BYTES))
    )

    fetched = Act(
        key.id, Action.CALL_AUDIO_FETCHED, call_id, {"recording_sha256": sha256, "bytes": [start, stop]}
    )

    def _note() -> None:
        with writing(service.engine) as connection:
            audit.append(connection, fetched)

    await service.in_thread(_note)

    async def _pieces() -> AsyncIterator[bytes]:
        yield first
        for begin in range(start + _READ_BYTES, stop, _READ_BYTES):
            end = min(stop, begin + _READ_BYTES)
            yield await service.in_thread(partial(service.recordings.read, sha256, begin, end))

    media_type = _MEDIA_TYPES.get(screening.container.lower(), "application/octet-stream")
    return StreamingResponse(_pieces(), 200 if part is None else 206, headers, media_type=media_type)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return what a Range header asks for as start and stop; None is everything.

    A header of another unit, of several ranges or malformed is ignored, as RFC 9110 allows.
    """
    match = re.fullmatch(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header or "", re.ASCII)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise Problem("range_not_satisfiable", headers={"Content-Range": f"bytes */{size}"}, size_bytes=size)
    return start, stop


async def find(service: Service, key: ApiKey, call_id: str) -> tuple[Call, Screening]:
    """Return one of the carrier's calls; a `Problem` says if it is none of them, or deleted."""
    if not _CALL_ID.fullmatch(call_id):
        raise Problem("not_found", "Expected the id of one of your calls.")

    def _read() -> tuple[Call, Screening]:
        with reading(service.engine) as connection:
            found = calls.get(connection, call_id, carrier_id=key.carrier_id)
            if found is not None:
                return found
            tombstone = retention.tombstone(connection, call_id, carrier_id=key.carrier_id)
        if tombstone is None:
            raise Problem("not_found", "Expected the id of one of your calls.")
        raise Problem("call_deleted", **_deleted(tombstone))

    return await service.in_thread(_read)


def _deleted(tombstone: retention.Tombstone) -> dict[str, Any]:
    return {
        "deleted_at": tombstone.deleted_at.isoformat().replace("+00:00", "Z"),
        "reason": tombstone.reason,
        "sha256": tombstone.recording_sha256,
    }
