"""Notices: a provider reads its own, acknowledges, answers, disputes; links that open without a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from voiceguard.api import docs
from voiceguard.api.auth import Notified
from voiceguard.api.evidence import send_package
from voiceguard.api.notice_models import AnswerIn, DisputeIn, NoticeCalls, NoticeOut, NoticePage
from voiceguard.api.problems import Problem
from voiceguard.api.requests import Cursor, Id, Limit, before, documented, read_json
from voiceguard.api.service import Service, ServiceDep
from voiceguard.enforcement import exports, links
from voiceguard.enforcement import notices as acts
from voiceguard.enforcement.links import What
from voiceguard.store import audit, cursors, exhibits, notices, signing
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.exhibits import CaseCall
from voiceguard.store.keys import ApiKey
from voiceguard.store.notices import Notice, State

router = APIRouter(tags=["notices"])

_CSV = {"text/csv": {"schema": {"type": "string"}}}
_PACKAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A sealed zip file that a stranger can verify offline.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/v1/notices", summary="List your notices", responses=docs.errors(401, 403, 422, 429, 503))
async def list_notices(
    service: ServiceDep, key: Notified, state: State | None = None, limit: Limit = 50, cursor: Cursor = None
) -> NoticePage:
    """List the notices to the provider whose key this is, latest first."""
    before_seq = before(cursor)

    def _page() -> list[Notice]:
        with reading(service.engine) as connection:
            return notices.page(
                connection, carrier_id=key.carrier_id, state=state, before_seq=before_seq, limit=limit + 1
            )

    found = await service.in_thread(_page)
    return NoticePage(
        data=[_out(service, one) for one in found[:limit]],
        next_cursor=cursors.encode(found[limit - 1].seq) if len(found) > limit else None,
    )


@router.get(
    "/v1/notices/{notice_id}", summary="Read a notice", responses=docs.errors(401, 403, 404, 422, 429, 503)
)
async def get_notice(service: ServiceDep, key: Notified, notice_id: Id) -> NoticeOut:
    """Read one notice; reading it acknowledges nothing."""
    return _out(service, await service.in_thread(lambda: _own(service, key, notice_id)))


@router.post(
    "/v1/notices/{notice_id}/acknowledge",
    summary="Acknowledge a notice",
    responses=docs.errors(401, 403, 404, 409, 422, 429, 503, 507),
)
async def acknowledge(service: ServiceDep, key: Notified, notice_id: Id) -> NoticeOut:
    """Say that a person has the notice: the hotline stops paging. Said twice, the first time counts."""
    return await _act(
        service,
        key,
        notice_id,
        lambda: acts.acknowledge(
            service.engine, notice_id, carrier_id=key.carrier_id, actor=key.id, now=service.clock()
        ),
    )


@router.post(
    "/v1/notices/{notice_id}/answer",
    summary="Answer a notice",
    responses=docs.errors(400, 401, 403, 404, 409, 413, 422, 429, 503, 507),
    openapi_extra=documented(AnswerIn),
)
async def answer(request: Request, service: ServiceDep, key: Notified, notice_id: Id) -> NoticeOut:
    """Answer a notice, once: its clock stops."""
    posted = await read_json(request, AnswerIn, most_bytes=64 * 1024)
    said = posted.model_dump(exclude_none=True)
    return await _act(
        service,
        key,
        notice_id,
        lambda: acts.answer(
            service.engine, notice_id, said, carrier_id=key.carrier_id, actor=key.id, now=service.clock()
        ),
    )


@router.post(
    "/v1/notices/{notice_id}/dispute",
    summary="Dispute a notice",
    responses=docs.errors(400, 401, 403, 404, 409, 413, 422, 429, 503, 507),
    openapi_extra=documented(DisputeIn),
)
async def dispute(request: Request, service: ServiceDep, key: Notified, notice_id: Id) -> NoticeOut:
    """Object to a notice, with the reason: its clock stops, and a person reads it."""
    posted = await read_json(request, DisputeIn, most_bytes=64 * 1024)
    return await _act(
        service,
        key,
        notice_id,
        lambda: acts.dispute(
            service.engine,
            notice_id,
            posted.reason,
            carrier_id=key.carrier_id,
            actor=key.id,
            now=service.clock(),
        ),
    )


@router.get(
    "/v1/notices/{notice_id}/calls",
    response_model=NoticeCalls,
    summary="List a notice's calls",
    responses={
        200: {"content": _CSV, "description": "One row a call, as JSON or CSV."},
        **docs.errors(401, 403, 404, 422, 429, 503, 507),
    },
)
async def notice_calls(
    service: ServiceDep,
    key: Notified,
    notice_id: Id,
    format: Annotated[str, Query(pattern="^(json|csv)$", description="json or csv.")] = "json",
) -> Response:
    """List the calls of a notice with the fields of a traceback request."""
    notice = await service.in_thread(lambda: _own(service, key, notice_id))
    return await send_calls(service, notice, format, actor=key.id)


@router.get(
    "/v1/notices/{notice_id}/evidence",
    response_class=Response,
    summary="Fetch a notice's evidence",
    responses={**_PACKAGE, **docs.errors(401, 403, 404, 409, 422, 429, 503, 507)},
)
async def notice_evidence(request: Request, service: ServiceDep, key: Notified, notice_id: Id) -> Response:
    """Make the sealed package of the strongest recordings of a notice; it takes some seconds."""
    await service.in_thread(lambda: _own(service, key, notice_id))
    return await send_package(request, service, notice_id, actor=key.id)


@router.get(
    "/links/notices/{notice_id}/{what}",
    response_class=Response,
    summary="Open a notice's link",
    responses={**_PACKAGE, **docs.errors(403, 404, 409, 410, 422, 503, 507)},
)
async def open_link(
    request: Request,
    service: ServiceDep,
    notice_id: Id,
    what: What,
    expires: Annotated[int, Query(ge=0, lt=2**40)],
    signature: Annotated[str, Query(max_length=128)],
) -> Response:
    """Send what a link of a notice opens, to whoever has it, until it ends."""

    def _checked() -> Notice:
        public = signing.open_key(service.settings).public
        links.check(public, notice_id, what, expires, signature, service.clock())
        with reading(service.engine) as connection:
            found = notices.get(connection, notice_id)
        if found is None or found.state is State.WITHDRAWN:
            raise Problem("not_found", "The notice was withdrawn.")
        return found

    notice = await service.in_thread(_checked)
    if what is What.EVIDENCE:
        return await send_package(request, service, notice_id, actor=f"link:{notice_id}")
    return await send_calls(service, notice, "csv", actor=f"link:{notice_id}")


async def send_calls(service: Service, notice: Notice, format: str, *, actor: str) -> Response:
    """Send the calls of a notice; that they were fetched is recorded, with the hash of what was sent."""

    def _rows() -> tuple[list[exports.Row], bytes]:
        key = signing.open_key(service.settings)
        # One package holds them all: every row names the same link.
        ends = (notice.sent_at or service.clock()) + links.LIFETIME
        link = links.make(key, service.settings.public_url, notice.id, What.EVIDENCE, ends)

        def _link(_call: CaseCall) -> str:
            return link

        with reading(service.engine) as connection:
            rows = exports.rows(exhibits.of_notice(connection, notice), _link)
        data = exports.as_csv(rows)
        with writing(service.engine) as connection:
            said = {"rows": len(rows), "sha256": audit.digest(data)}
            audit.append(connection, Act(actor, Action.NOTICE_EXHIBITS_FETCHED, notice.id, said))
        return rows, data

    rows, data = await service.in_thread(_rows)
    headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
    if format == "json":
        return JSONResponse({"data": [dataclasses.asdict(row) for row in rows]}, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{notice.number}-calls.csv"'
    return Response(data, headers=headers, media_type="text/csv; charset=utf-8")


async def _act(service: Service, key: ApiKey, notice_id: str, act: Callable[[], Notice]) -> NoticeOut:
    def _checked() -> Notice:
        _own(service, key, notice_id)  # another's is not found, whatever was to be done with it
        return act()

    return _out(service, await service.in_thread(_checked))


def _own(service: Service, key: ApiKey, notice_id: str) -> Notice:
    with reading(service.engine) as connection:
        found = notices.get(connection, notice_id, carrier_id=key.carrier_id)
    if found is None:
        raise Problem("not_found", "Expected the id of a notice to you.")
    return found


def _out(service: Service, notice: Notice) -> NoticeOut:
    return NoticeOut.of(notice, late=notice.late(service.clock()))
