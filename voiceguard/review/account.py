"""Signing in and out, one's password, the purpose of listening, and the accounts of others."""

from __future__ import annotations

import datetime as dt

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import ServiceDep
from voiceguard.review import access
from voiceguard.review.access import Newcomer, PeopleManager, Reader, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import people
from voiceguard.store.people import PeopleError, Purpose, Role

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


def _inside(path: str) -> str:
    """Return where to go after signing in: a page of ours, whatever the address said."""
    return path if path == "/review" or path.startswith(("/review/", "/review?")) else "/review"


@router.get("/sign-in")
async def sign_in_page(request: Request, service: ServiceDep, next: str = "/review") -> Response:
    """Show the form to sign in by."""
    if await access.current(request, service) is not None:
        return see_other(_inside(next))
    return render(request, "sign_in.html", next=_inside(next), name="", failed=False)


@router.post("/sign-in")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    """Sign in."""
    form = await access.form_of(request)
    name, password, code = text(form, "name").lower(), str(form.get("password", "")), text(form, "code")
    now = dt.datetime.now(dt.UTC)
    found = await service.in_thread(lambda: people.sign_in(service.engine, name, password, code, now))
    if found is None:
        return render(request, "sign_in.html", 401, next=_inside(text(form, "next")), name=name, failed=True)
    _, token = found
    response = see_other(_inside(text(form, "next")))
    secure = service.settings.review_https or request.url.scheme == "https"
    response.set_cookie(
        access.cookie_name(service),
        token,
        max_age=int(people.LIFETIME.total_seconds()),
        path="/" if service.settings.review_https else "/review",
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request, service: ServiceDep, visitor: Newcomer) -> Response:
    """Sign out."""
    await access.checked_form(request, visitor)
    await service.in_thread(lambda: people.sign_out(service.engine, visitor.session))
    response = see_other("/review/sign-in")
    response.delete_cookie(
        access.cookie_name(service), path="/" if service.settings.review_https else "/review"
    )
    return response


@router.get("/password")
async def password_page(request: Request, visitor: Newcomer) -> Response:
    """Show the form to change one's password."""
    return render(request, "password.html", error=None)


@router.post("/password")
async def change_password(request: Request, service: ServiceDep, visitor: Newcomer) -> Response:
    """Change one's password."""
    form = await access.checked_form(request, visitor)
    old, new, again = (str(form.get(name, "")) for name in ("old", "new", "again"))
    try:
        if new != again:
            raise PeopleError("Expected the new password twice, but the two differ.")
        await service.in_thread(lambda: people.change_password(service.engine, visitor.session, old, new))
    except PeopleError as error:
        return render(request, "password.html", 422, error=str(error))
    return see_other("/review")


@router.post("/purpose")
async def set_purpose(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Say what recordings are listened to for."""
    form = await access.checked_form(request, visitor)
    try:
        purpose = Purpose(text(form, "purpose"))
    except ValueError:
        raise Refused(422, "Unknown purpose", "Choose one of the purposes in the list.") from None
    await service.in_thread(lambda: people.set_purpose(service.engine, visitor.session, purpose))
    return see_other(_inside(text(form, "back")))


@router.get("/people")
async def people_page(request: Request, service: ServiceDep, visitor: PeopleManager) -> Response:
    """List the accounts."""
    found = await service.in_thread(lambda: people.everyone(service.engine))
    return render(
        request, "people.html", users=found, made=None, error=None, name="", now=dt.datetime.now(dt.UTC)
    )


@router.post("/people")
async def create_account(request: Request, service: ServiceDep, visitor: PeopleManager) -> Response:
    """Open an account; its one-time password is shown this once."""
    form = await access.checked_form(request, visitor)
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
    found = await service.in_thread(lambda: people.everyone(service.engine))
    return render(
        request,
        "people.html",
        200 if made else 422,
        users=found,
        made=made,
        error=error,
        name="" if made else name,
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
