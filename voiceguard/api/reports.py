"""Reports: a provider sends the agency a call that it finds suspicious, and follows what becomes of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from voiceguard.api import docs, intake
from voiceguard.api.auth import Notified
from voiceguard.api.notice_models import ReportIn, ReportOut, ReportPage
from voiceguard.api.problems import Problem
from voiceguard.api.requests import Cursor, Id, Limit, before
from voiceguard.api.service import Service, ServiceDep
from voiceguard.api.upload import missing
from voiceguard.enforcement import hotline
from voiceguard.store import audit, cursors, decisions, reports
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.keys import ApiKey
from voiceguard.store.reports import Report

router = APIRouter(prefix="/v1/reports", tags=["reports"])

_OWN = {"note", "urgent"}


@router.post(
    "",
    status_code=201,
    response_model=ReportOut,
    summary="Report a call",
    responses=docs.errors(400, 401, 403, 408, 409, 413, 415, 422, 429, 503, 507),
    openapi_extra=docs.multipart(ReportIn, required=True),
)
async def post_report(
    request: Request,
    response: Response,
    service: ServiceDep,
    key: Notified,
    idempotency_key: Annotated[
        str | None,
        Header(description="Any text of your own, in quotes: a repeated request makes no second report."),
    ] = None,
) -> ReportOut:
    """Send a call with its recording: it is stored and screened as any call, and a person will listen to it."""
    idempotent = intake.idempotency_key(idempotency_key)
    async with (
        intake.claimed(service, key, idempotent) as known,
        intake.receiving(request, service, key) as (incoming, form),
    ):
        if form.call is None:
            raise missing("call", "Expected a part named call that holds JSON.")
        posted = intake.parse(ReportIn, form.call)
        call = json.dumps(posted.model_dump(mode="json", exclude=_OWN)).encode()
        form = dataclasses.replace(form, call=call)
        # Two transactions: after a crash between them the sender, who has no answer, reports again.
        answer, _ = await intake.take(service, key, incoming, form, idempotent, known)
        found = await service.in_thread(lambda: _store(service, key, answer.call_id, posted))
    response.headers["Location"] = f"/v1/reports/{found.id}"
    return ReportOut.model_validate(found)


@router.get("", summary="List your reports", responses=docs.errors(401, 403, 422, 429, 503))
async def list_reports(
    service: ServiceDep, key: Notified, limit: Limit = 50, cursor: Cursor = None
) -> ReportPage:
    """List what you reported and what became of it, latest first."""
    before_seq = before(cursor)

    def _page() -> list[Report]:
        with reading(service.engine) as connection:
            return reports.page(connection, carrier_id=key.carrier_id, before_seq=before_seq, limit=limit + 1)

    found = await service.in_thread(_page)
    return ReportPage(
        data=[ReportOut.model_validate(one) for one in found[:limit]],
        next_cursor=cursors.encode(found[limit - 1].seq) if len(found) > limit else None,
    )


@router.get("/{report_id}", summary="Read a report", responses=docs.errors(401, 403, 404, 422, 429, 503))
async def get_report(service: ServiceDep, key: Notified, report_id: Id) -> ReportOut:
    """Read one report and what became of it."""

    def _get() -> Report:
        with reading(service.engine) as connection:
            found = reports.get(connection, report_id, carrier_id=key.carrier_id)
        if found is None:
            raise Problem("not_found", "Expected the id of one of your reports.")
        return found

    return ReportOut.model_validate(await service.in_thread(_get))


def _store(service: Service, key: ApiKey, call_id: str, posted: ReportIn) -> Report:
    now = service.clock()
    with writing(service.engine) as connection:
        report_id, new = reports.insert(
            connection,
            carrier_id=key.carrier_id,
            call_id=call_id,
            note=posted.note,
            urgent=posted.urgent,
            now=now,
        )
        found = reports.get(connection, report_id)
        assert found is not None
        if new:
            decisions.locked(connection, call_id)  # into the queue, whatever its verdict
            if found.urgent:
                hotline.page_report(connection, found, now)
            said = {"call_id": call_id, "urgent": found.urgent, "note_sha256": audit.digest(found.note)}
            audit.append(connection, Act(key.id, Action.REPORT_RECEIVED, report_id, said))
    return found
