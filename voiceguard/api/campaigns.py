"""Campaigns: list them, read one with its calls. A carrier sees those that it has calls in."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query

from voiceguard.api import docs
from voiceguard.api.auth import CallsReader
from voiceguard.api.campaign_models import CAMPAIGN_ID, CampaignOut, CampaignPage, CampaignSummary
from voiceguard.api.models import CallSummary, Moment, PhoneNumber
from voiceguard.api.problems import Problem
from voiceguard.api.service import ServiceDep
from voiceguard.screening import Screening
from voiceguard.store import calls, campaign_views, cursors
from voiceguard.store.calls import Call
from voiceguard.store.campaign_views import Campaign, Filter
from voiceguard.store.engine import reading
from voiceguard.verdict import Verdict

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])

_CAMPAIGN_ID = re.compile("campaign_[0-9a-f]{32}")
Cursor = Annotated[str | None, Query(max_length=64, description="next_cursor of the page before.")]


@router.get("", summary="List campaigns", responses=docs.errors(401, 403, 422, 429, 503))
async def list_campaigns(
    service: ServiceDep,
    key: CallsReader,
    verdict: Verdict | None = None,
    min_calls: Annotated[
        int, Query(ge=1, le=2**31 - 1, description="Campaigns with so many calls, of all carriers.")
    ] = 2,
    seen_from: Annotated[Moment | None, Query(description="Campaigns with a call then or later.")] = None,
    seen_to: Annotated[Moment | None, Query(description="Campaigns with a call before.")] = None,
    caller: Annotated[PhoneNumber | None, Query(description="With a call of yours from it.")] = None,
    callee: Annotated[PhoneNumber | None, Query(description="With a call of yours to it.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> CampaignPage:
    """List the campaigns that the carrier has calls in, the latest to begin first."""
    before_seq = _before(cursor)
    wanted = Filter(
        carrier_id=key.carrier_id,
        verdict=verdict,
        least_calls=min_calls,
        seen_from=seen_from,
        seen_to=seen_to,
        caller=caller,
        callee=callee,
    )

    def _page() -> list[Campaign]:
        with reading(service.engine) as connection:
            return campaign_views.page(connection, wanted, before_seq=before_seq, limit=limit + 1)

    found = await service.in_thread(_page)
    shown = found[:limit]
    return CampaignPage(
        data=[CampaignSummary.of(one) for one in shown],
        next_cursor=cursors.encode(shown[-1].seq) if len(found) > limit else None,
    )


@router.get(
    "/{campaign_id}",
    summary="Read a campaign and your calls in it",
    responses=docs.errors(401, 403, 404, 422, 429, 503),
)
async def get_campaign(
    service: ServiceDep,
    key: CallsReader,
    campaign_id: Annotated[str, Path(examples=[CAMPAIGN_ID])],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> CampaignOut:
    """Read a campaign; the id of one that was merged answers with the one that survived."""
    before_seq = _before(cursor)

    def _read() -> tuple[Campaign, list[tuple[Call, Screening]]]:
        if not _CAMPAIGN_ID.fullmatch(campaign_id):
            raise _not_found()
        with reading(service.engine) as connection:
            campaign = campaign_views.get(connection, campaign_id, carrier_id=key.carrier_id)
            if campaign is None:
                raise _not_found()
            mine = calls.Filter(carrier_id=key.carrier_id, campaign_id=campaign.id)
            return campaign, calls.page(connection, mine, before_seq=before_seq, limit=limit + 1)

    campaign, found = await service.in_thread(_read)
    shown = found[:limit]
    return CampaignOut(
        **CampaignSummary.of(campaign).model_dump(),
        merged_from=campaign_id if campaign_id != campaign.id else None,
        data=[CallSummary.of(call, screening) for call, screening in shown],
        next_cursor=cursors.encode(shown[-1][0].seq) if len(found) > limit else None,
    )


def _before(cursor: str | None) -> int | None:
    try:
        return cursors.decode(cursor) if cursor is not None else None
    except ValueError as error:
        raise Problem(
            "invalid_request", str(error), errors=[{"at": "query.cursor", "message": str(error)}]
        ) from None


def _not_found() -> Problem:
    return Problem("not_found", "Expected the id of a campaign that you have calls in.")
