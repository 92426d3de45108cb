"""The hotline: what waits and what is late, day and night; the providers and who is on duty where."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.addresses import check_url
from voiceguard.api.service import Service, ServiceDep
from voiceguard.review import access
from voiceguard.review.access import NoticeSender, Reader, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import messages, notices, providers, reports
from voiceguard.store.engine import reading, writing
from voiceguard.store.providers import AGENCY, NewContact, NewProvider

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)

_SHOWN = 100
_EMAIL = re.compile(r"[^@\s<>\"',;]{1,64}@[^@\s<>\"',;]{1,189}")


@router.get("/hotline")
async def hotline_page(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Show every clock that runs, the first that is due foremost, what could not be sent, and reports."""
    now = service.clock()

    def _read() -> dict[str, Any]:
        with reading(service.engine) as connection:
            own = providers.contacts(connection, None)
            return {
                "waiting": notices.waiting(connection, limit=_SHOWN),
                "stuck": messages.stuck(connection, limit=_SHOWN),
                "reports": reports.page(connection, limit=_SHOWN // 4),
                "on_duty": providers.to_page(own, now)[:1],
                "nobody": not own,
            }

    values = await service.in_thread(_read)
    return render(request, "hotline.html", now=now, mail_set=service.settings.mail_from is not None, **values)


@router.get("/providers")
async def providers_page(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Show the providers and their duty lists."""
    return await _page(request, service)


async def _page(request: Request, service: Service, error: str | None = None) -> Response:
    def _read() -> dict[str, Any]:
        with reading(service.engine) as connection:
            found = providers.every(connection)
            return {
                "providers": found,
                "contacts": {
                    AGENCY: providers.contacts(connection, None),
                    **{one.id: providers.contacts(connection, one.id) for one in found},
                },
                "carriers": providers.carriers_without(connection),
            }

    values = await service.in_thread(_read)
    return render(
        request,
        "providers.html",
        422 if error else 200,
        error=error,
        agency=AGENCY,
        now=service.clock(),
        **values,
    )


@router.post("/providers")
async def add_provider(request: Request, service: ServiceDep, visitor: NoticeSender) -> Response:
    """Write a provider down."""
    form = await access.checked_form(request, visitor)
    try:
        new = _provider(form)

        def _add() -> None:
            with writing(service.engine) as connection:
                if providers.named(connection, new.name) is not None:
                    raise ValueError(f"{new.name} is in the list already")
                _check_carrier(connection, new.carrier_id, None)
                providers.add(connection, new, now=service.clock(), actor=visitor.user.id)

        await service.in_thread(_add)
    except ValueError as error:
        return await _page(request, service, str(error))
    return see_other("/review/providers")


@router.post("/providers/{provider_id}")
async def change_provider(
    request: Request, service: ServiceDep, visitor: NoticeSender, provider_id: str
) -> Response:
    """Change what is known of a provider."""
    form = await access.checked_form(request, visitor)
    try:
        new = _provider(form)

        def _change() -> bool:
            with writing(service.engine) as connection:
                other = providers.named(connection, new.name)
                if other is not None and other.id != provider_id:
                    raise ValueError(f"{new.name} is in the list already")
                _check_carrier(connection, new.carrier_id, provider_id)
                return providers.change(connection, provider_id, new, actor=visitor.user.id) is not None

        known = await service.in_thread(_change)
    except ValueError as error:
        return await _page(request, service, str(error))
    if not known:
        raise Refused(404, "There is no such provider", "Look for it in the list.")
    return see_other("/review/providers")


@router.post("/providers/{provider_id}/contacts")
async def add_contact(
    request: Request, service: ServiceDep, visitor: NoticeSender, provider_id: str
) -> Response:
    """Put somebody at the end of a duty list."""
    form = await access.checked_form(request, visitor)
    try:
        new = _contact(form, service)
    except ValueError as error:
        return await _page(request, service, str(error))

    def _add() -> bool:
        with writing(service.engine) as connection:
            if provider_id != AGENCY and providers.get(connection, provider_id) is None:
                return False
            whose = None if provider_id == AGENCY else provider_id
            providers.add_contact(connection, whose, new, actor=visitor.user.id)
            return True

    if not await service.in_thread(_add):
        raise Refused(404, "There is no such provider", "Look for it in the list.")
    return see_other("/review/providers")


@router.post("/contacts/{contact_id}/remove")
async def remove_contact(
    request: Request, service: ServiceDep, visitor: NoticeSender, contact_id: str
) -> Response:
    """Take somebody off a duty list."""
    await access.checked_form(request, visitor)

    def _remove() -> bool:
        with writing(service.engine) as connection:
            return providers.remove_contact(connection, contact_id, actor=visitor.user.id)

    if not await service.in_thread(_remove):
        raise Refused(404, "There is no such contact", "It may have been removed before.")
    return see_other("/review/providers")


def _provider(form: Any) -> NewProvider:
    name = text(form, "name")
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise ValueError("expected a name of 1 to 200 characters")
    spid = text(form, "spid")
    if spid and not re.fullmatch(r"[A-Za-z0-9]{1,16}", spid):
        raise ValueError("expected a service provider code of letters and digits")
    origids = tuple(dict.fromkeys(text(form, "origids").split()))
    if any(len(one) > 128 for one in origids) or len(origids) > 50:
        raise ValueError("expected at most 50 origids of 128 characters")
    return NewProvider(
        name=name,
        carrier_id=text(form, "carrier") or None,
        spid=spid or None,
        origids=origids,
        email=_email(text(form, "email")),
    )


def _contact(form: Any, service: Service) -> NewContact:
    name, email, webhook = text(form, "name"), _email(text(form, "email")), text(form, "webhook")
    if not 1 <= len(name) <= 200:
        raise ValueError("expected a name of 1 to 200 characters")
    if email is None and not webhook:
        raise ValueError("expected an e-mail address or a webhook: how else is anybody paged?")
    days = "".join("1" if text(form, f"day{n}") else "0" for n in range(7))
    if "1" not in days:
        raise ValueError("expected at least one day on duty")
    return NewContact(
        name=name,
        email=email,
        webhook=check_url(webhook, allow_private=service.settings.webhook_allow_private) if webhook else None,
        days=days,
        from_minute=_minute(text(form, "from") or "00:00"),
        to_minute=_minute(text(form, "to") or "00:00") or 24 * 60,
    )


def _email(given: str) -> str | None:
    if given and not (_EMAIL.fullmatch(given) and given.isascii()):
        raise ValueError("expected an e-mail address such as noc@example.com")
    return given or None


def _minute(given: str) -> int:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", given, re.ASCII)
    if match is None:
        raise ValueError("expected a time such as 22:00")
    return int(match[1]) * 60 + int(match[2])


def _check_carrier(connection: Any, carrier_id: str | None, provider_id: str | None) -> None:
    if carrier_id is None:
        return
    own = providers.of_carrier(connection, carrier_id)
    free = {one for one, _ in providers.carriers_without(connection)}
    if carrier_id not in free and (own is None or own.id != provider_id):
        raise ValueError("expected a carrier whose keys are no other provider's")
