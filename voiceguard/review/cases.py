"""Cases: the list, a case with all that is in it, and what people do with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from voiceguard.api.service import Service, ServiceDep
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import chain, exports
from voiceguard.enforcement.cases import CaseError
from voiceguard.review import access, evidence
from voiceguard.review.access import CaseWorker, Exporter, Reader, Visitor, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import (
    audit,
    campaign_views,
    case_papers,
    cases,
    cursors,
    exhibits,
    notices,
    people,
    providers,
)
from voiceguard.store.audit import Act, Action
from voiceguard.store.cases import Case, State
from voiceguard.store.engine import reading, writing

router = APIRouter(prefix="/review/cases", route_class=PageRoute, include_in_schema=False)

PAGE = 50
MOST_FILES = 5
MAX_UPLOAD_BYTES = MOST_FILES * acts.MAX_ATTACHMENT_BYTES + access.MAX_FORM_BYTES
_CALLS_SHOWN = 25


@router.get("")
async def cases_page(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    state: str = "open",
    mine: bool = False,
    after: str | None = None,
) -> Response:
    """Show the cases, latest first."""
    chosen = next((one for one in State if one.value == state), None)
    try:
        before_seq = cursors.decode(after) if after is not None else None
    except ValueError:
        raise Refused(422, "This page of the list is unknown", "Begin with the first page.") from None

    def _read() -> tuple[Any, ...]:
        owner = visitor.user.id if mine else None
        with reading(service.engine) as connection:
            found = cases.page(
                connection, state=chosen, owner_id=owner, before_seq=before_seq, limit=PAGE + 1
            )
            return found, cases.counts(connection)

    found, counts = await service.in_thread(_read)
    return render(
        request,
        "cases.html",
        items=found[:PAGE],
        counts=counts,
        state=chosen,
        mine=mine,
        first_page=after is None,
        next_cursor=cursors.encode(found[PAGE - 1].case.seq) if len(found) > PAGE else None,
        now=service.clock(),
    )


@router.post("")
async def open_case(request: Request, service: ServiceDep, visitor: CaseWorker) -> Response:
    """Open a case, or put what a page is about into one that there is."""
    form = await access.checked_form(request, visitor)
    chosen, objects = text(form, "case"), text(form, "objects").split()

    def _open() -> str:
        how: dict[str, Any] = {"actor": visitor.user.id, "now": service.clock()}
        if chosen:
            acts.add(service.engine, chosen, objects, **how)
            return chosen
        return acts.open_case(
            service.engine, text(form, "title"), objects, owner_id=visitor.user.id, **how
        ).id

    return see_other(f"/review/cases/{await service.in_thread(_open)}")


@router.get("/{case_id}")
async def case_page(request: Request, service: ServiceDep, visitor: Reader, case_id: str) -> Response:
    """Show a case; that it was looked at is recorded."""
    values = await service.in_thread(lambda: _read(service, visitor, case_id))
    return render(request, "case.html", **values)


def _read(service: Service, visitor: Visitor, case_id: str) -> dict[str, Any]:
    with reading(service.engine) as connection:
        case = found(connection, case_id)
        calls = exhibits.of_case(connection, case.seq)
        members = cases.members(connection, case.seq)
        known = providers.every(connection)
        sent = notices.of_case(connection, case.seq)
        by_campaign: dict[str | None, list[exhibits.CaseCall]] = {}
        for call in calls:
            by_campaign.setdefault(call.campaign_id, []).append(call)
        campaigns = [
            (one, campaign_views.get(connection, one.object_id)) for one in members if one.kind == "campaign"
        ]
        values = {
            "case": case,
            "members": members,
            "campaigns": [
                (
                    one,
                    campaign,
                    chain.chain(by_campaign.get(campaign.id, []), known, sent) if campaign else [],
                )
                for one, campaign in campaigns
            ],
            "calls": calls[-_CALLS_SHOWN:][::-1],
            "count": len(calls),
            "synthetic": sum(call.appears_synthetic for call in calls),
            "chain": chain.chain(calls, known, sent),
            "providers": known,
            "notices": sent,
            "tasks": case_papers.tasks(connection, case.seq),
            "notes": case_papers.notes(connection, case.seq),
            "linked": cases.linked(connection, case.seq),
            "history": cases.history(connection, case.seq),
        }
    users = people.everyone(service.engine)
    with writing(service.engine) as connection:
        said = {"purpose": visitor.session.purpose.value}
        audit.append(connection, Act(visitor.user.id, Action.CASE_VIEWED, case_id, said))
    return {
        **values,
        "users": [user for user in users if user.disabled_at is None],
        "names": {user.id: user.name for user in users},
        "now": service.clock(),
        "most_mib": acts.MAX_ATTACHMENT_BYTES // (1024 * 1024),
        "most_files": MOST_FILES,
    }


def found(connection: sa.Connection, case_id: str) -> Case:
    """Return a case, or end the request with a page that says that there is none."""
    case = cases.get(connection, case_id[:64]) if case_id.isascii() else None
    if case is None:
        raise Refused(404, "There is no such case", "Look for it in the list of cases.")
    return case


@router.post("/{case_id}/add")
async def add(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Put calls or campaigns into a case, by id or address."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.add(
            service.engine, case_id, [one.rsplit("/", 1)[-1] for one in text(form, "objects").split()], **how
        ),
    )


@router.post("/{case_id}/remove")
async def remove(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Take a call or a campaign out of a case."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.remove(service.engine, case_id, text(form, "object"), **how),
    )


@router.post("/{case_id}/change")
async def change(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Give a case a title and an owner."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.change(
            service.engine, case_id, title=text(form, "title"), owner_id=text(form, "owner") or None, **how
        ),
    )


@router.post("/{case_id}/link")
async def link(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Link a case with another."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.link(service.engine, case_id, text(form, "other").rsplit("/", 1)[-1], **how),
    )


@router.post("/{case_id}/tasks")
async def add_task(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Put a task on a case."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.add_task(
            service.engine,
            case_id,
            text(form, "text"),
            due_at=_day(text(form, "due")),
            assignee_id=text(form, "assignee") or None,
            **how,
        ),
    )


@router.post("/{case_id}/tasks/{seq}/done")
async def finish_task(
    request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str, seq: int
) -> Response:
    """Say that a task is done."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda _form, how: acts.finish_task(service.engine, case_id, seq, **how),
    )


@router.post("/{case_id}/notes")
async def add_note(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Write a note, with files."""
    form = await access.checked_form(request, visitor, files=MOST_FILES, most_bytes=MAX_UPLOAD_BYTES)
    try:
        files = [
            (one.filename, await one.read())
            for one in form.getlist("file")
            if isinstance(one, UploadFile) and one.filename
        ]
    finally:
        await form.close()
    await service.in_thread(
        lambda: acts.add_note(
            service.engine,
            service.recordings,
            case_id,
            text(form, "text"),
            files,
            actor=visitor.user.id,
            now=service.clock(),
        )
    )
    return see_other(f"/review/cases/{case_id}")


@router.post("/{case_id}/close")
async def close(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Close a case with an outcome."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.close(
            service.engine, case_id, text(form, "outcome"), text(form, "reason"), **how
        ),
    )


@router.post("/{case_id}/reopen")
async def reopen(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Open a closed case again."""
    return await _act(
        request,
        service,
        visitor,
        case_id,
        lambda form, how: acts.reopen(service.engine, case_id, text(form, "reason"), **how),
    )


@router.get("/{case_id}/attachments/{seq}")
async def attachment(
    request: Request, service: ServiceDep, visitor: Reader, case_id: str, seq: int
) -> Response:
    """Send a note's file, to be saved and not shown: strangers may have made it."""

    def _load() -> tuple[str, bytes]:
        with reading(service.engine) as connection:
            one = case_papers.attachment(connection, found(connection, case_id).seq, seq)
        if one is None:
            raise Refused(404, "There is no such file", "Look for it in the case's notes.")
        return one.name, case_papers.kept(service.recordings, one.sha256)

    name, data = await service.in_thread(_load)
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._- ") else "_" for sign in name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"'}
    return Response(data, headers=headers, media_type="application/octet-stream")


@router.get("/{case_id}/evidence")
async def case_evidence(request: Request, service: ServiceDep, visitor: Exporter, case_id: str) -> Response:
    """Send a package of a case: each of its recordings once, the strongest ones."""
    return await evidence.send(request, service, case_id, visitor.user.id)


@router.get("/{case_id}/calls")
async def case_calls(
    request: Request, service: ServiceDep, visitor: Exporter, case_id: str, format: str = "csv"
) -> Response:
    """Send the calls of a case with the fields of a traceback request; that they were taken is recorded."""

    def _make() -> tuple[str, bytes]:
        base = service.settings.public_url.rstrip("/")
        with reading(service.engine) as connection:
            case = found(connection, case_id)
            rows = exports.rows(
                exhibits.of_case(connection, case.seq), lambda call: f"{base}/review/calls/{call.id}"
            )
        data = exports.as_json(rows) if format == "json" else exports.as_csv(rows)
        with writing(service.engine) as connection:
            said = {"what": f"calls.{format[:4]}", "rows": len(rows), "sha256": audit.digest(data)}
            audit.append(connection, Act(visitor.user.id, Action.CASE_EXPORTED, case_id, said))
        return case.number, data

    number, data = await service.in_thread(_make)
    kind = ("json", "application/json") if format == "json" else ("csv", "text/csv; charset=utf-8")
    headers = {"Content-Disposition": f'attachment; filename="{number}-calls.{kind[0]}"'}
    return Response(data, headers=headers, media_type=kind[1])


async def _act(
    request: Request,
    service: Service,
    visitor: Visitor,
    case_id: str,
    act: Callable[[Any, dict[str, Any]], object],
) -> Response:
    form = await access.checked_form(request, visitor)
    how = {"actor": visitor.user.id, "now": service.clock()}
    await service.in_thread(lambda: act(form, how))
    return see_other(f"/review/cases/{case_id}")


def _day(given: str) -> dt.datetime | None:
    """Read a date field: the end of that day, UTC."""
    if not given:
        return None
    try:
        day = dt.date.fromisoformat(given)
    except ValueError:
        raise CaseError(f"Expected a day such as 2026-03-31, got {given[:20]!r}.") from None
    return dt.datetime.combine(day, dt.time(23, 59), dt.UTC)


def card(connection: sa.Connection, *object_ids: str) -> dict[str, Any]:
    """Return what a call's or campaign's page shows of cases: those it is in, and open ones to put it in."""
    inside = cases.of_object(connection, *object_ids)
    there = {one.seq for one in inside}
    listed = [
        one.case
        for state in (State.OPEN, State.NOTICED, State.ANSWERED)
        for one in cases.page(connection, state=state, limit=PAGE)
        if one.case.seq not in there
    ]
    return {"in_cases": inside, "open_cases": listed}
