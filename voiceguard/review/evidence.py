"""Evidence packages to take along: only for roles that see whole numbers, since a package holds them."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.evidence import send_package
from voiceguard.api.problems import Problem, kinds
from voiceguard.api.service import Service, ServiceDep
from voiceguard.review import call
from voiceguard.review.access import Exporter
from voiceguard.review.pages import PageRoute, Refused

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


@router.get("/calls/{call_id}/evidence")
async def call_evidence(request: Request, service: ServiceDep, visitor: Exporter, call_id: str) -> Response:
    """Send a call's package; that it was made is recorded."""
    await service.in_thread(partial(call.find, service, call_id))
    return await send(request, service, call_id, visitor.user.id)


@router.get("/campaigns/{campaign_id}/evidence")
async def campaign_evidence(
    request: Request, service: ServiceDep, visitor: Exporter, campaign_id: str
) -> Response:
    """Send a package of a campaign's calls."""
    return await send(request, service, campaign_id, visitor.user.id)


async def send(request: Request, service: Service, subject_id: str, actor: str) -> Response:
    """Send a package of a call, a campaign or a case; a page says why there is none."""
    try:
        return await send_package(request, service, subject_id, actor=actor)
    except Problem as problem:
        kind = kinds()[problem.code]
        raise Refused(kind.status, kind.title, f"{problem.detail or ''} {kind.remedy}".strip()) from problem
