"""Notices as the staff sees them: draft, send, what came of it, the next hop; and the templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import Service, ServiceDep
from voiceguard.enforcement import hotline, templates
from voiceguard.enforcement import notices as acts
from voiceguard.enforcement.notices import ANSWER_FIELDS, Office
from voiceguard.review import access
from voiceguard.review.access import CaseWorker, NoticeSender, Reader, Right, Visitor, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import cases, messages, notices, people, providers
from voiceguard.store.engine import reading, writing
from voiceguard.store.notices import Kind, Notice

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


@router.post("/cases/{case_id}/notices")
async def draft(request: Request, service: ServiceDep, visitor: CaseWorker, case_id: str) -> Response:
    """Draft a notice to a provider."""
    form = await access.checked_form(request, visitor)
    kind = _kind(text(form, "kind"))

    def _draft() -> Notice:
        return acts.draft(
            service.engine,
            Office.of(service.settings),
            case_id,
            text(form, "provider"),
            kind,
            urgent=bool(text(form, "urgent")),
            actor=visitor.user.id,
            now=service.clock(),
        )

    return see_other(f"/review/notices/{(await service.in_thread(_draft)).id}")


@router.get("/notices/{notice_id}")
async def notice_page(request: Request, service: ServiceDep, visitor: Reader, notice_id: str) -> Response:
    """Show a notice, what was sent for it and what came of it."""

    def _read() -> dict[str, Any]:
        with reading(service.engine) as connection:
            notice = _found(connection, notice_id)
            provider = providers.get(connection, notice.provider_id)
            return {
                "notice": notice,
                "provider": provider,
                "contacts": providers.contacts(connection, notice.provider_id),
                "trail": acts.trail(connection, notice),
                "messages": messages.of_notice(connection, notice.seq),
                "events": [
                    one
                    for one in cases.history(connection, notice.case_seq)
                    if one.detail.get("notice") == notice.number
                ],
                "steps": hotline.steps(notice)[notice.step :] if notice.waiting else [],
                "names": {user.id: user.name for user in people.everyone(service.engine)},
            }

    values = await service.in_thread(_read)
    return render(
        request,
        "notice.html",
        now=service.clock(),
        with_links=visitor.may(Right.EXPORT),
        mail_set=service.settings.mail_from is not None,
        **values,
    )


@router.post("/notices/{notice_id}/edit")
async def edit(request: Request, service: ServiceDep, visitor: CaseWorker, notice_id: str) -> Response:
    """Change a draft."""
    return await _act(
        request,
        service,
        visitor,
        notice_id,
        lambda form, how: acts.edit(
            service.engine,
            notice_id,
            text(form, "subject"),
            text(form, "body"),
            urgent=bool(text(form, "urgent")),
            **how,
        ),
    )


@router.post("/notices/{notice_id}/send")
async def send(request: Request, service: ServiceDep, visitor: NoticeSender, notice_id: str) -> Response:
    """Send a draft."""
    return await _act(
        request,
        service,
        visitor,
        notice_id,
        lambda _form, how: acts.send(service.engine, Office.of(service.settings), notice_id, **how),
    )


@router.post("/notices/{notice_id}/withdraw")
async def withdraw(request: Request, service: ServiceDep, visitor: NoticeSender, notice_id: str) -> Response:
    """Take a notice back."""
    return await _act(
        request,
        service,
        visitor,
        notice_id,
        lambda form, how: acts.withdraw(service.engine, notice_id, text(form, "reason"), **how),
    )


@router.post("/notices/{notice_id}/answer")
async def answer(request: Request, service: ServiceDep, visitor: CaseWorker, notice_id: str) -> Response:
    """Write down an answer that came by mail, telephone or letter."""

    def _answer(form: Any, how: dict[str, Any]) -> Notice:
        if text(form, "disputed"):
            return acts.dispute(service.engine, notice_id, text(form, "comment"), **how)
        said = {name: text(form, name) for name in ANSWER_FIELDS}
        return acts.answer(service.engine, notice_id, said, **how)

    return await _act(request, service, visitor, notice_id, _answer)


@router.post("/notices/{notice_id}/next")
async def draft_next(request: Request, service: ServiceDep, visitor: CaseWorker, notice_id: str) -> Response:
    """Draft the notice to the provider that the answer names."""
    return await _act(
        request,
        service,
        visitor,
        notice_id,
        lambda _form, how: acts.draft_next(service.engine, Office.of(service.settings), notice_id, **how),
    )


@router.post("/notices/{notice_id}/again/{message_id}")
async def send_again(
    request: Request, service: ServiceDep, visitor: NoticeSender, notice_id: str, message_id: str
) -> Response:
    """Send a mail or page once more that failed, or of which nobody knows."""

    def _again(_form: Any, how: dict[str, Any]) -> Notice:
        with writing(service.engine) as connection:
            notice = _found(connection, notice_id)
            sent = messages.again(connection, message_id, now=how["now"])
            if sent is None or sent.notice_seq != notice.seq:
                raise Refused(409, "That can't be sent again", "It went out, or waits to go out.")
        return notice

    return await _act(request, service, visitor, notice_id, _again)


@router.get("/templates")
async def templates_page(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Show the templates of notices with their versions."""
    return await _templates(request, service)


@router.post("/templates/{kind}")
async def save_template(request: Request, service: ServiceDep, visitor: NoticeSender, kind: str) -> Response:
    """Make a new version of a template."""
    form = await access.checked_form(request, visitor)
    chosen, subject, body = _kind(kind), text(form, "subject"), text(form, "body")
    try:
        await service.in_thread(
            lambda: templates.save(
                service.engine, chosen, subject, body, actor=visitor.user.id, now=service.clock()
            )
        )
    except templates.TemplateError as error:
        return await _templates(
            request, service, {"kind": chosen, "subject": subject, "body": body}, str(error)
        )
    return see_other("/review/templates")


async def _templates(
    request: Request, service: Service, draft: dict[str, Any] | None = None, error: str | None = None
) -> Response:
    def _read() -> list[notices.Template]:
        with writing(service.engine) as connection:
            templates.ensure(connection, now=service.clock())
            return notices.templates(connection)

    found = await service.in_thread(_read)
    users = await service.in_thread(lambda: people.everyone(service.engine))
    return render(
        request,
        "templates.html",
        409 if error else 200,
        versions={kind: [one for one in found if one.kind is kind] for kind in Kind},
        fields=templates.FIELDS,
        names={user.id: user.name for user in users},
        draft=draft,
        error=error,
    )


async def _act(
    request: Request,
    service: Service,
    visitor: Visitor,
    notice_id: str,
    act: Callable[[Any, dict[str, Any]], Notice],
) -> Response:
    form = await access.checked_form(request, visitor)
    how = {"actor": visitor.user.id, "now": service.clock()}
    notice = await service.in_thread(lambda: act(form, how))
    return see_other(f"/review/notices/{notice.id}")


def _found(connection: sa.Connection, notice_id: str) -> Notice:
    notice = notices.get(connection, notice_id[:64]) if notice_id.isascii() else None
    if notice is None:
        raise Refused(404, "There is no such notice", "Look for it in its case.")
    return notice


def _kind(given: str) -> Kind:
    try:
        return Kind(given)
    except ValueError:
        raise Refused(422, "Unknown kind of notice", "Choose one of the kinds in the list.") from None
