"""All pages under ``/review``, and the files that they load."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.review import (
    account,
    agreement,
    call,
    campaign,
    cases,
    evidence,
    figures,
    hotline,
    notices,
    openid_pages,
    queue,
)
from voiceguard.review.access import Reader
from voiceguard.review.pages import PageRoute, Refused, static_files

router = APIRouter()
_rest = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


@_rest.get("/static/{version}/{name:path}")
async def static_file(request: Request, version: str, name: str) -> Response:
    """Send a stylesheet or script; its address holds a hash, so it is never asked for twice."""
    if name not in static_files():
        raise Refused(404, "There is no such file", "Load the page again.")
    data, media_type = static_files()[name]
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(data, headers=headers, media_type=media_type)


@_rest.get("/{rest:path}")
async def nothing_here(request: Request, visitor: Reader, rest: str) -> Response:
    """Say that there is no such page, to who is signed in."""
    raise Refused(404, "There is no such page", "Check the address, or begin at the queue.")


for _part in (
    account,
    openid_pages,
    queue,
    call,
    campaign,
    cases,
    notices,
    hotline,
    evidence,
    agreement,
    figures,
):
    router.include_router(_part.router)
router.include_router(_rest)
