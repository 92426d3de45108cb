"""How a page is answered: rendered from a template, under a strict policy, errors as pages too."""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from collections.abc import Callable, Coroutine
from functools import cache
from importlib import resources
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from voiceguard.enforcement.cases import CaseError
from voiceguard.enforcement.changes import CampaignError
from voiceguard.enforcement.decisions import DecisionError
from voiceguard.enforcement.notices import NoticeError
from voiceguard.enforcement.templates import TemplateError
from voiceguard.errors import RecordingMissing, StoreError, VoiceGuardError
from voiceguard.review import case_words, words
from voiceguard.store.people import PeopleError

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline; the nonce is for the styles that wavesurfer puts into its shadow."""
_log = structlog.get_logger()


class SignInNeeded(Exception):
    """Nobody is signed in."""


class PasswordNeeded(Exception):
    """The one-time password must be changed first."""


class Refused(Exception):
    """Ends a request with a page that says why."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(title)
        self.status, self.title, self.text = status, title, text


class PageRoute(APIRoute):
    """A route that answers with pages, whatever happens."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handle = super().get_route_handler()

        async def _handle(request: Request) -> Response:
            request.state.nonce = secrets.token_urlsafe(16)
            try:
                response = await handle(request)
            except SignInNeeded:
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                asked = target if request.method == "GET" else "/review"
                response = RedirectResponse(_with("/review/sign-in", next=asked), 303)
            except PasswordNeeded:
                response = RedirectResponse("/review/password", 303)
            except Refused as error:
                response = error_page(request, error.status, error.title, error.text)
            except RequestValidationError:
                response = error_page(
                    request,
                    422,
                    "This address can't be read",
                    "Part of the address has a form that it can't have.",
                )
            except (
                DecisionError,
                PeopleError,
                CampaignError,
                CaseError,
                NoticeError,
                TemplateError,
            ) as error:
                response = error_page(request, 409, "That can't be done", f"{error} {error.remedy}")
            except RecordingMissing as error:
                response = error_page(request, 404, "The recording is missing", f"{error} {error.remedy}")
            except (StoreError, VoiceGuardError) as error:
                _log.warning("review page failed", code=error.code, error=str(error))
                response = error_page(request, 503, "This can't be shown just now", f"{error} {error.remedy}")
            except Exception:
                _log.exception("review page failed")
                response = error_page(
                    request,
                    500,
                    "VoiceGuard made a mistake",
                    "The log has the cause. Going back loses nothing.",
                )
            _protect(request, response)
            return response

        return _handle


def _protect(request: Request, response: Response) -> None:
    headers = response.headers
    headers["Content-Security-Policy"] = _POLICY.format(nonce=request.state.nonce)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    headers.setdefault("Cache-Control", "no-store")


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a template; ``visitor`` is who is signed in, if anyone is."""
    found = getattr(request.state, "visitor", None)
    html = (
        _templates()
        .get_template(template)
        .render(visitor=found, nonce=request.state.nonce, path=request.url.path, **values)
    )
    return HTMLResponse(html, status)


def error_page(request: Request, status: int, title: str, text: str) -> Response:
    """Answer with a page that says what went wrong and what to do."""
    return render(request, "error.html", status, title=title, text=text, code=status)


def see_other(path: str, **query: str | int | None) -> Response:
    """Answer a form that was accepted: go and look there."""
    return RedirectResponse(_with(path, **query), 303)


def _with(path: str, **query: str | int | None) -> str:
    from urllib.parse import urlencode

    given = {name: value for name, value in query.items() if value is not None}
    return path + (("&" if "?" in path else "?") + urlencode(given) if given else "")


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return every static file's bytes and media type, by its path below ``static``."""
    found = {}
    root = resources.files("voiceguard.review") / "static"
    folders = [("", root)]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                folders.append((f"{name}/", entry))
            else:
                kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
                found[name] = (entry.read_bytes(), kind or "text/plain")
    return found


@cache
def static_version() -> str:
    """Return a hash of all static files: their address changes when one of them does."""
    hashed = hashlib.sha256()
    for name, (data, _) in sorted(static_files().items()):
        hashed.update(name.encode() + b"\0" + data)
    return hashed.hexdigest()[:12]


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("voiceguard.review"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = lambda name: f"/review/static/{static_version()}/{name}"
    environment.globals["words"] = words
    environment.globals["case_words"] = case_words
    environment.globals["url"] = _with
    environment.filters.update(
        score=words.score, seconds=words.seconds, clock=words.clock, moment=words.moment, iso=words.iso
    )
    return environment
