"""Signing in at an OpenID Connect service: the way there and back, as the browser goes it.

The way there is a link and not a form, since the policy of the pages lets no form lead elsewhere. The way back ends
on a page that goes on by itself: the session's cookie is for this site's own links only (SameSite=Strict), and a
redirect would still count as the service's.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from voiceguard.api.service import Service, ServiceDep
from voiceguard.review import access
from voiceguard.review.openid import (
    Attempt,
    OpenIDError,
    OpenIDRefused,
    OpenIDUnavailable,
    Person,
    service_of,
)
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import identities
from voiceguard.store.identities import Refusal

if TYPE_CHECKING:
    from voiceguard.review.openid_client import OpenIDService

router = APIRouter(prefix="/review/oidc", route_class=PageRoute, include_in_schema=False)
_COOKIE = "vg_openid"
_KEPT_S = 600
"""How long a person may be away to sign in."""
_log = structlog.get_logger()


@router.get("/start")
async def start(request: Request, service: ServiceDep, next: str = "/review") -> Response:
    """Send the browser to the service."""
    openid = _configured(request)
    attempt = Attempt.new(access.inside(next))
    try:
        address = await openid.address(attempt)
    except OpenIDError as error:
        return _went_wrong(request, service, error, attempt.next)
    response = RedirectResponse(address, 303)
    _keep(request, service, response, attempt.cookie())
    return response


@router.get("/callback")
async def callback(
    request: Request,
    service: ServiceDep,
    state: str = "",
    code: str = "",
    error: str = "",
    iss: str | None = None,
) -> Response:
    """Sign in whom the service sends back."""
    openid = _configured(request)
    attempt = Attempt.of_cookie(request.cookies.get(access.cookie_name(service, _COOKIE), ""))
    if attempt is None or not secrets.compare_digest(attempt.state.encode(), state.encode()):
        if await access.current(request, service) is not None:  # back to an address that was used
            return see_other("/review")
        return _failed(
            request,
            service,
            400,
            "This sign-in is out of date",
            "It was begun more than ten minutes ago, in another browser or at another address of this server, "
            "or another sign-in was begun after it. Nobody was signed in.",
        )
    next = access.inside(attempt.next)
    if error or not code:
        _log.warning("sign-in refused by the OpenID Connect service", error=error[:100])
        response = _failed(
            request,
            service,
            403,
            f"You were not signed in with {openid.name}",
            "It was cancelled there, or you are not assigned to VoiceGuard. Try again; if it stays so, ask who "
            "manages the accounts of your organisation.",
            next,
        )
    else:
        try:
            person = await openid.person(attempt, code, iss)
        except OpenIDError as problem:
            response = _went_wrong(request, service, problem, next)
        else:
            response = await _sign_in(request, service, person, next)
    _keep(request, service, response, "")
    return response


@router.get("/sign-out")
async def sign_out(request: Request) -> Response:
    """Send the browser to where one signs out of the service itself."""
    address = await _configured(request).sign_out_address()
    if address is None:
        raise Refused(404, "There is no sign-out from here", "Sign out on a page of your organisation's.")
    return RedirectResponse(address, 303)


async def _sign_in(request: Request, service: Service, person: Person, next: str) -> Response:
    now = dt.datetime.now(dt.UTC)
    identity, name, role = person.identity, person.name, person.role
    found = await service.in_thread(lambda: identities.sign_in(service.engine, identity, name, role, now))
    if not isinstance(found, Refusal):
        response = render(request, "signed_in.html", next=next)
        access.give_cookie(request, service, response, found[1])
        return response
    _log.warning("sign-in refused", reason=found.name.lower(), subject=identity.subject, name=name)
    title, said = {
        Refusal.CLOSED: (
            "Your account is closed",
            "An administrator closed the account that you sign in to. Ask one if it should be open.",
        ),
        Refusal.NO_ROLE: (
            "You have no role in VoiceGuard",
            "You were signed in, but nothing that is known of you there gives you a role here. Ask who manages "
            "the groups of your organisation to put you into one that does, then try again.",
        ),
        Refusal.NAME_TAKEN: (
            f"There is an account {name} already",
            "It was not opened by you signing in this way. If it is yours, ask an administrator of VoiceGuard to "
            f"link it: voiceguard user link {name}, and what stands below.",
        ),
    }[found]
    elsewhere = await _configured(request).sign_out_address() is not None
    return _failed(request, service, 403, title, said, next, person=person, elsewhere=elsewhere)


def _keep(request: Request, service: Service, response: Response, value: str) -> None:
    # Not strict: it must come along when the service sends the browser back.
    access.give_cookie(
        request,
        service,
        response,
        value,
        name=_COOKIE,
        path="/review/oidc",
        max_age_s=_KEPT_S,
        samesite="lax",
    )


def _went_wrong(request: Request, service: Service, error: OpenIDError, next: str) -> Response:
    openid = _configured(request)
    _log.warning("sign-in failed", code=error.code, error=str(error))
    if isinstance(error, OpenIDRefused):
        title = "Sign in by another way"
        said = (
            "VoiceGuard asks for a stronger way of signing in than the one you used, such as a second factor. "
            f"Sign out of {openid.name}, then try again."
        )
        return _failed(request, service, 403, title, said, next)
    if isinstance(error, OpenIDUnavailable):
        title = f"Signing in with {openid.name} does not work just now"
        said = "The server that signs people in does not answer. Try again in a minute; nothing of your work is lost."
        return _failed(request, service, 503, title, said, next)
    title = f"Signing in with {openid.name} went wrong"
    said = (
        "The server that signs people in gave an answer that VoiceGuard can't accept. Try again; if it stays so, "
        "tell an administrator of VoiceGuard, whose log has the cause."
    )
    return _failed(request, service, 502, title, said, next)


def _failed(
    request: Request,
    service: Service,
    status: int,
    title: str,
    said: str,
    next: str = "/review",
    *,
    person: Person | None = None,
    elsewhere: bool = False,
) -> Response:
    return render(
        request,
        "sign_in_failed.html",
        status,
        title=title,
        text=said,
        next=next,
        person=person,
        elsewhere=elsewhere,
        home=service.settings.public_url.rstrip("/"),
        openid=_configured(request).name,
        passwords=service.settings.password_sign_in,
    )


def _configured(request: Request) -> OpenIDService:
    openid = service_of(request)
    if openid is None:
        raise Refused(404, "There is no such page", "Check the address, or begin at the queue.")
    return openid
