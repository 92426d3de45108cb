"""The page on agreement: between reviewers, with the detector, and beside the evaluation."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import ServiceDep
from voiceguard.enforcement import agreement
from voiceguard.evidence.rates import known_rates
from voiceguard.review.access import Reader
from voiceguard.review.call import evaluation
from voiceguard.review.pages import PageRoute, render
from voiceguard.store.engine import reading

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)

_TYPICAL_SPEECH_S = 16.0


@router.get("/agreement")
async def agreement_page(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Show how well reviewers agree, by model."""

    def _read() -> list[agreement.Agreement]:
        with reading(service.engine) as connection:
            return agreement.agreements(connection)

    found = await service.in_thread(_read)
    rates = known_rates(evaluation(service), codec="", speech_s=_TYPICAL_SPEECH_S)
    return render(request, "agreement.html", found=found, rates=rates, model=service.pool.model)
