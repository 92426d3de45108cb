"""A campaign's page: how large, since when, by whom; one decision for all its calls; split and merge."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import Service, ServiceDep
from voiceguard.enforcement import changes
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement.changes import CampaignError
from voiceguard.enforcement.decisions import DecisionError
from voiceguard.review import access, cases, queue
from voiceguard.review.access import CampaignChanger, Decider, Reader, Visitor, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import audit, campaign_decisions, campaign_views, decisions, people, schema
from voiceguard.store import queue as rows
from voiceguard.store.audit import Act, Action
from voiceguard.store.campaign_views import Campaign
from voiceguard.store.engine import reading, writing

router = APIRouter(prefix="/review/campaigns", route_class=PageRoute, include_in_schema=False)

_CAMPAIGN_ID = re.compile("campaign_[0-9a-f]{32}")
_COPIES = 12
_CALLS = 25
_COUNTED = 20_000
"""A timeline of the latest so many calls: more bars' worth of difference nobody sees."""


@router.get("/{campaign_id}")
async def campaign_page(
    request: Request, service: ServiceDep, visitor: Reader, campaign_id: str, done: int | None = None
) -> Response:
    """Show a campaign; one that was merged shows the one that survived."""
    return await _page(request, service, visitor, campaign_id, done=done)


async def _page(
    request: Request,
    service: Service,
    visitor: Visitor,
    campaign_id: str,
    *,
    done: int | None = None,
    error: str | None = None,
    form: Any = None,
) -> Response:
    values = await service.in_thread(lambda: _read(service, visitor, campaign_id, done))
    if form is not None:
        values["draft"] = {name: text(form, name) for name in ("action", "reason", "note", "consent")}
    return render(request, "campaign.html", 409 if error else 200, error=error, **values)


def _read(service: Service, visitor: Visitor, campaign_id: str, done: int | None) -> dict[str, Any]:
    with reading(service.engine) as connection:
        campaign = (
            campaign_views.get(connection, campaign_id) if _CAMPAIGN_ID.fullmatch(campaign_id) else None
        )
        if campaign is None:
            raise Refused(404, "There is no such campaign", "Look for it in the list of campaigns.")
        ids = [campaign.id, *campaign.merged_ids]
        values = {
            "campaign": campaign,
            "merged_from": campaign_id if campaign_id != campaign.id else None,
            "copies": campaign_views.copies(connection, campaign.seq, limit=_COPIES),
            "history": campaign_views.history(connection, campaign.seq),
            "review": campaign_decisions.find(connection, campaign.seq),
            "made": decisions.of_campaign(connection, ids),
            "open_calls": campaign_decisions.open_calls(connection, campaign.id),
            "calls": rows.page(
                connection, rows.Wanted(state=None, campaign_id=campaign.id), after=None, limit=_CALLS
            ),
            "bars": _timeline(connection, campaign),
            **cases.card(connection, *ids),
        }
        mine = decisions.one(connection, done) if done is not None else None
    with writing(service.engine) as connection:
        said = {"purpose": visitor.session.purpose.value}
        audit.append(connection, Act(visitor.user.id, Action.CAMPAIGN_VIEWED, campaign.id, said))
    return {
        **values,
        "names": {user.id: user.name for user in people.everyone(service.engine)},
        "done": mine if mine and mine.reviewer_id == visitor.user.id else None,
        "draft": {"action": "", "reason": "", "note": "", "consent": ""},
        "now": dt.datetime.now(dt.UTC),
    }


def _timeline(connection: sa.Connection, campaign: Campaign) -> list[tuple[dt.datetime, int]]:
    """Return the calls of each day of the campaign, or of each hour if it lasted less than three days."""
    table = schema.calls.c
    query = sa.select(table.started_at).where(table.campaign_id == campaign.id)
    found = connection.scalars(query.order_by(table.started_at.desc()).limit(_COUNTED)).all()
    if not found:
        return []
    hourly = found[0] - found[-1] < dt.timedelta(days=3)
    step = dt.timedelta(hours=1) if hourly else dt.timedelta(days=1)
    clean = {"minute": 0, "second": 0, "microsecond": 0} | ({} if hourly else {"hour": 0})
    counted = Counter(at.replace(**clean) for at in found)
    first, last = min(counted), max(counted)
    steps = int((last - first) / step) + 1
    return [(first + step * n, counted[first + step * n]) for n in range(max(0, steps - 90), steps)]


@router.post("/{campaign_id}/decide")
async def decide(request: Request, service: ServiceDep, visitor: Decider, campaign_id: str) -> Response:
    """Decide all open calls of a campaign."""
    form = await access.checked_form(request, visitor)
    seen = text(form, "version")

    def _decide() -> int:
        return deciding.decide_campaign(
            service.engine,
            campaign_id,
            queue.choice_of(form),
            visitor.user,
            seen_version=int(seen) if seen.isdecimal() and len(seen) < 9 else -1,
            now=dt.datetime.now(dt.UTC),
        )[0]

    try:
        seq = await service.in_thread(_decide)
    except DecisionError as error:
        return await _page(request, service, visitor, campaign_id, error=str(error), form=form)
    return see_other(f"/review/campaigns/{campaign_id}", done=seq)


@router.post("/{campaign_id}/merge")
async def merge(
    request: Request, service: ServiceDep, visitor: CampaignChanger, campaign_id: str
) -> Response:
    """Make another campaign part of this one."""
    form = await access.checked_form(request, visitor)
    other, reason = text(form, "other").rsplit("/", 1)[-1], text(form, "reason")
    try:
        if len(reason) < 3:
            raise CampaignError("Expected a reason: why are these one campaign?")
        survivor = await service.in_thread(
            lambda: changes.merge(
                service.engine,
                [campaign_id, other],
                actor=visitor.user.id,
                reason=reason[:500],
                now=dt.datetime.now(dt.UTC),
            )
        )
    except CampaignError as error:
        return await _page(request, service, visitor, campaign_id, error=str(error))
    return see_other(f"/review/campaigns/{survivor}")


@router.post("/{campaign_id}/split")
async def split(
    request: Request, service: ServiceDep, visitor: CampaignChanger, campaign_id: str
) -> Response:
    """Move the ticked recordings into a campaign of their own."""
    form = await access.checked_form(request, visitor)
    out, reason = {str(one) for one in form.getlist("recording")}, text(form, "reason")
    try:
        if len(reason) < 3:
            raise CampaignError("Expected a reason: why do these recordings not belong here?")
        new = await service.in_thread(
            lambda: changes.split(
                service.engine,
                campaign_id,
                out,
                actor=visitor.user.id,
                reason=reason[:500],
                now=dt.datetime.now(dt.UTC),
            )
        )
    except CampaignError as error:
        return await _page(request, service, visitor, campaign_id, error=str(error))
    return see_other(f"/review/campaigns/{new}")
