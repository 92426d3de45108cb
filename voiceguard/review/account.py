"""Signing in and out, one's password, the purpose of listening, and the accounts of others."""

from __future__ import annotations

import datetime as dt

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import Service, ServiceDep
from voiceguard.review import access
from voiceguard.review.access import Newcomer, PeopleManager, Reader, Visitor, text
from voiceguard.review.openid import service_of
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import people
from voiceguard.store.people import NewAccount, PeopleError, Purpose, Role

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
async def sign_in_page(
    request: Request, service: ServiceDep, next: str = "/review", signed_out: bool = False
) -> Response:
    """Show the ways to sign in."""
    if await access.current(request, service) is not None:
        return see_other(access.inside(next))
    openid = service_of(request)
    elsewhere = signed_out and openid is not None and await openid.sign_out_address() is not None
    return _sign_in_page(request, service, next=next, signed_out=signed_out, elsewhere=elsewhere)


@router.post("/sign-in")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    """Sign in by password."""
    form = await access.form_of(request)
    if not service.settings.password_sign_in:
        raise Refused(
            403, "Passwords open nothing here", "Sign in the other way that the sign-in page offers."
        )
    name, password, code = text(form, "name").lower(), str(form.get("password", "")), text(form, "code")
    now = dt.datetime.now(dt.UTC)
    found = await service.in_thread(lambda: people.sign_in(service.engine, name, password, code, now))
    if found is None:
        return _sign_in_page(request, service, 401, next=text(form, "next"), name=name, failed=True)
    response = see_other(access.inside(text(form, "next")))
    access.give_cookie(request, service, response, found[1])
    return response


def _sign_in_page(
    request: Request,
    service: Service,
    status: int = 200,
    *,
    next: str,
    name: str = "",
    failed: bool = False,
    signed_out: bool = False,
    elsewhere: bool = False,
) -> Response:
    openid = service_of(request)
    return render(
        request,
        "sign_in.html",
        status,
        next=access.inside(next),
        name=name,
        failed=failed,
        signed_out=signed_out,
        elsewhere=elsewhere,
        openid=openid.name if openid else None,
        passwords=service.settings.password_sign_in,
    )


@router.post("/sign-out")
async def sign_out(request: Request, service: ServiceDep, visitor: Newcomer) -> Response:
    """Sign out."""
    await access.checked_form(request, visitor)
    await service.in_thread(lambda: people.sign_out(service.engine, visitor.session))
    response = see_other("/review/sign-in", signed_out="true" if visitor.user.issuer else None)
    access.give_cookie(request, service, response, "")
    return response


@router.get("/password")
async def password_page(request: Request, visitor: Newcomer) -> Response:
    """Show the form to change one's password."""
    _with_password(visitor)
    return render(request, "password.html", error=None)


@router.post("/password")
async def change_password(request: Request, service: ServiceDep, visitor: Newcomer) -> Response:
    """Change one's password."""
    _with_password(visitor)
    form = await access.checked_form(request, visitor)
    old, new, again = (str(form.get(name, "")) for name in ("old", "new", "again"))
    try:
        if new != again:
            raise PeopleError("Expected the new password twice, but the two differ.")
        await service.in_thread(lambda: people.change_password(service.engine, visitor.session, old, new))
    except PeopleError as error:
        return render(request, "password.html", 422, error=str(error))
    return see_other("/review")


def _with_password(visitor: Visitor) -> None:
    if not visitor.user.has_password:
        raise Refused(
            409, "Your account has no password here", "Change it where you sign in: at your organisation."
        )


@router.post("/purpose")
async def set_purpose(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Say what recordings are listened to for."""
    form = await access.checked_form(request, visitor)
    try:
        purpose = Purpose(text(form, "purpose"))
    except ValueError:
        raise Refused(422, "Unknown purpose", "Choose one of the purposes in the list.") from None
    await service.in_thread(lambda: people.set_purpose(service.engine, visitor.session, purpose))
    return see_other(access.inside(text(form, "back")))


@router.get("/people")
async def people_page(request: Request, service: ServiceDep, visitor: PeopleManager) -> Response:
    """List the accounts."""
    return await _people_page(request, service)


@router.post("/people")
async def create_account(request: Request, service: ServiceDep, visitor: PeopleManager) -> Response:
    """Open an account; its one-time password is shown this once."""
    form = await access.checked_form(request, visitor)
    if not service.settings.password_sign_in:
        raise Refused(403, "Accounts open by themselves", "Each opens when its person first signs in.")
    name, made, error = text(form, "name").lower(), None, None
    try:
        role = Role(text(form, "role"))
        made = await service.in_thread(
            lambda: people.create(service.engine, name, role, actor=visitor.user.id)
        )
    except PeopleError as problem:
        error = str(problem)
    except ValueError:
        error = "Choose a role."
    return await _people_page(request, service, made=made, error=error, name=name)


async def _people_page(
    request: Request,
    service: Service,
    *,
    made: NewAccount | None = None,
    error: str | None = None,
    name: str = "",
) -> Response:
    openid = service_of(request)
    return render(
        request,
        "people.html",
        422 if error else 200,
        users=await service.in_thread(lambda: people.everyone(service.engine)),
        made=made,
        error=error,
        name="" if made else name,
        openid=openid.name if openid else None,
        passwords=service.settings.password_sign_in,
        now=dt.datetime.now(dt.UTC),
    )


@router.post("/people/{name}/disable")
async def close_account(request: Request, service: ServiceDep, visitor: PeopleManager, name: str) -> Response:
    """Close an account at once."""
    await access.checked_form(request, visitor)
    if name == visitor.user.name:
        raise Refused(409, "This is your own account", "Another administrator can close it.")
    now = dt.datetime.now(dt.UTC)
    if not await service.in_thread(lambda: people.disable(service.engine, name, now, actor=visitor.user.id)):
        raise Refused(404, "No such account", "It may have been closed before.")
    return see_other("/review/people")
