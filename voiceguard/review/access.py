"""Who may do what: the session behind a request, the rights of its role, and what its role sees of numbers."""

from __future__ import annotations

import datetime as dt
import enum
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from voiceguard.api.service import Service, ServiceDep
from voiceguard.review import words
from voiceguard.review.pages import PasswordNeeded, Refused, SignInNeeded
from voiceguard.store import people
from voiceguard.store.people import Role, Session, User

MAX_FORM_BYTES = 256 * 1024
_COOKIE = "vg_session"


class Right(enum.StrEnum):
    """What a role may be allowed."""

    READ = "read"
    DECIDE = "decide"
    WORK_CASES = "work on cases"
    SEND_NOTICES = "send notices"
    CHANGE_CAMPAIGNS = "change campaigns"
    EXPORT = "take evidence along"
    MANAGE_PEOPLE = "manage people"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.AUDITOR: frozenset({Right.READ}),
    Role.ANALYST: frozenset({Right.READ, Right.DECIDE, Right.WORK_CASES}),
    Role.SUPERVISOR: frozenset(Right) - {Right.MANAGE_PEOPLE},
    Role.ADMIN: frozenset(Right),
}
_SEES_CALLERS = {Role.ANALYST, Role.SUPERVISOR, Role.ADMIN}
_SEES_CALLEES = {Role.SUPERVISOR, Role.ADMIN}


@dataclass(frozen=True)
class Visitor:
    """Who is at a page."""

    session: Session

    @property
    def user(self) -> User:
        """The account."""
        return self.session.user

    def may(self, right: str) -> bool:
        """Say whether the role has a right; templates ask by its name."""
        return Right(right) in RIGHTS[self.user.role]

    def caller(self, number: str | None) -> str | None:
        """Return a caller's number as this role sees it."""
        return number if self.user.role in _SEES_CALLERS else words.masked(number)

    def callee(self, number: str | None) -> str | None:
        """Return a called person's number as this role sees it."""
        return number if self.user.role in _SEES_CALLEES else words.masked(number)

    @property
    def sees_all_numbers(self) -> bool:
        """Whether no number is masked."""
        return self.user.role in _SEES_CALLEES


def cookie_name(service: Service, name: str = _COOKIE) -> str:
    """Return a cookie's name, by default the session's; the prefix binds it to this host over https."""
    return f"__Host-{name}" if service.settings.review_https else name


def inside(path: str) -> str:
    """Return where to go after signing in: a page of ours, whatever the address said."""
    return path if path == "/review" or path.startswith(("/review/", "/review?")) else "/review"


def give_cookie(
    request: Request,
    service: Service,
    response: Response,
    value: str,
    *,
    name: str = _COOKIE,
    path: str = "/review",
    max_age_s: int = int(people.LIFETIME.total_seconds()),
    samesite: Literal["strict", "lax"] = "strict",
) -> None:
    """Let the browser keep a cookie, by default the session's; an empty one is forgotten at once."""
    https = service.settings.review_https
    response.set_cookie(
        cookie_name(service, name),
        value,
        max_age=max_age_s if value else 0,
        path="/" if https else path,  # the prefix of the name allows no other
        httponly=True,
        samesite=samesite,
        secure=https or request.url.scheme == "https",
    )


async def current(request: Request, service: Service) -> Visitor | None:
    """Return who is signed in, if anyone is."""
    token = request.cookies.get(cookie_name(service), "")
    if not 20 <= len(token) <= 100:
        return None
    now = dt.datetime.now(dt.UTC)
    session = await service.in_thread(lambda: people.session(service.engine, token, now))
    if session is None:
        return None
    request.state.who["user"] = session.user.id
    visitor = Visitor(session)
    request.state.visitor = visitor
    return visitor


def needs(right: Right, *, with_one_time: bool = False) -> Callable[..., Coroutine[Any, Any, Visitor]]:
    """Return the dependency that lets in who has ``right``."""

    async def _allowed(request: Request, service: ServiceDep) -> Visitor:
        visitor = await current(request, service)
        if visitor is None:
            raise SignInNeeded
        if visitor.user.one_time and not with_one_time:
            raise PasswordNeeded
        if right not in RIGHTS[visitor.user.role]:
            raise Refused(
                403,
                "Your role does not allow this",
                f"The role {visitor.user.role} has no right to {right}. An administrator can open another "
                "account for you.",
            )
        return visitor

    return _allowed


async def form_of(request: Request, *, files: int = 0, most_bytes: int = MAX_FORM_BYTES) -> FormData:
    """Read a form of ours: posted from a page of this host, and not large."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > most_bytes:
        raise Refused(413, "The form is too large", "Shorten the note, or choose fewer calls or files.")
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
        origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    ):
        raise Refused(403, "The form came from elsewhere", "Open the page here and send it again.")
    return await request.form(max_files=files, max_fields=1000)


async def checked_form(
    request: Request, visitor: Visitor, *, files: int = 0, most_bytes: int = MAX_FORM_BYTES
) -> FormData:
    """Read a form that only a page of this session can have sent, with ``files`` at most."""
    form = await form_of(request, files=files, most_bytes=most_bytes)
    if not secrets.compare_digest(text(form, "csrf"), visitor.session.csrf):
        raise Refused(
            403, "The form is out of date", "You have signed in anew since; load the page and send it again."
        )
    return form


def text(form: FormData, name: str) -> str:
    """Return a field of a form; empty if it is not there."""
    value = form.get(name, "")
    return value.replace("\0", "").strip() if isinstance(value, str) else ""


Reader = Annotated[Visitor, Depends(needs(Right.READ))]
Decider = Annotated[Visitor, Depends(needs(Right.DECIDE))]
CaseWorker = Annotated[Visitor, Depends(needs(Right.WORK_CASES))]
NoticeSender = Annotated[Visitor, Depends(needs(Right.SEND_NOTICES))]
CampaignChanger = Annotated[Visitor, Depends(needs(Right.CHANGE_CAMPAIGNS))]
Exporter = Annotated[Visitor, Depends(needs(Right.EXPORT))]
PeopleManager = Annotated[Visitor, Depends(needs(Right.MANAGE_PEOPLE))]
Newcomer = Annotated[Visitor, Depends(needs(Right.READ, with_one_time=True))]
"""Also who has to change the one-time password first."""
