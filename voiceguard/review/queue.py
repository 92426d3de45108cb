"""The queue: what waits, in which order, found by what; several decided at once."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from voiceguard.api.service import ServiceDep
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement.decisions import Choice, DecisionError
from voiceguard.review import access
from voiceguard.review.access import Decider, Reader, Visitor, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.store import decisions, queue, views
from voiceguard.store.decisions import Action, Consent, State, Why
from voiceguard.store.engine import reading
from voiceguard.store.queue import Order, Wanted
from voiceguard.verdict import Verdict

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)

PAGE = 50
MOST_AT_ONCE = 100
_FIELDS = ("state", "order", "number", "provider", "level", "verdict", "score", "campaign", "reviewer", "why")
_T = TypeVar("_T")


def wanted_by(given: dict[str, str], visitor: Visitor) -> Wanted:
    """Read a filter from an address; what can't be read is left open."""
    state = given.get("state", State.OPEN.value)
    number = _number(given.get("number", ""))
    try:
        score_from = float(given["score"]) if given.get("score") else None
    except ValueError:
        score_from = None
    return Wanted(
        state=None if state == "all" else _one_of(State, state) or State.OPEN,
        order=_one_of(Order, given.get("order")) or Order.STRENGTH,
        number=number,
        # Who sees no whole numbers must not find one digit by digit.
        number_prefix=visitor.sees_all_numbers,
        provider=given.get("provider") or None,
        level=given.get("level") if given.get("level") in ("A", "B", "C", "none") else None,
        verdict=_one_of(Verdict, given.get("verdict")),
        score_from=score_from if score_from is not None and abs(score_from) < 1e6 else None,
        campaign_id=given.get("campaign") or None,
        reviewer=(given.get("reviewer") or "").lower() or None,
        why=_one_of(Why, given.get("why")),
    )


def _one_of(kind: type[_T], value: str | None) -> _T | None:
    try:
        return kind(value) if value else None  # type: ignore[call-arg]
    except ValueError:
        return None


def _number(typed: str) -> str | None:
    digits = re.sub(r"\D", "", typed)[:15]
    return f"+{digits}" if digits else None


def list_of(request: Request) -> str:
    """Return the queue's filter as text that a call's page can carry along."""
    given = {name: request.query_params[name] for name in _FIELDS if request.query_params.get(name)}
    return urlencode(given)


def fields_of(listed: str) -> dict[str, str]:
    """Read what `list_of` wrote."""
    given = dict(parse_qsl(listed[:2000]))
    return {name: given[name] for name in _FIELDS if name in given}


@router.get("")
async def queue_page(
    request: Request, service: ServiceDep, visitor: Reader, after: str | None = None, done: int | None = None
) -> Response:
    """Show the calls that wait."""
    given = {name: value.strip()[:200] for name, value in request.query_params.items() if name in _FIELDS}
    wanted = wanted_by(given, visitor)

    def _read() -> tuple[Any, ...]:
        with reading(service.engine) as connection:
            try:
                found = queue.page(connection, wanted, after=after, limit=PAGE + 1)
            except ValueError:
                raise Refused(
                    422, "This page of the queue is unknown", "Begin with the first page."
                ) from None
            undoable = decisions.one(connection, done) if done is not None else None
            return found, queue.counts(connection), undoable, views.of(connection, visitor.user.id)

    found, counts, undoable, saved = await service.in_thread(_read)
    shown = found[:PAGE]
    return render(
        request,
        "queue.html",
        items=shown,
        counts=counts,
        given=given,
        wanted=wanted,
        filtered=any(given.get(name) for name in _FIELDS if name not in ("state", "order")),
        listed=list_of(request),
        views=saved,
        next_cursor=queue.cursor_of(shown[-1]) if len(found) > PAGE else None,
        first_page=after is None,
        done=undoable if undoable and undoable.reviewer_id == visitor.user.id else None,
        told=[],
        now=dt.datetime.now(dt.UTC),
    )


@router.get("/campaigns")
async def campaigns_page(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    order: str = "strength",
    decided: bool = False,
    after: str | None = None,
) -> Response:
    """Show the campaigns that wait, or those that are decided."""
    chosen = _one_of(Order, order) or Order.STRENGTH

    def _read() -> tuple[Any, ...]:
        with reading(service.engine) as connection:
            try:
                found = queue.campaign_page(connection, chosen, decided=decided, after=after, limit=PAGE + 1)
            except ValueError:
                raise Refused(422, "This page of the list is unknown", "Begin with the first page.") from None
            return found, queue.counts(connection)

    found, counts = await service.in_thread(_read)
    shown = found[:PAGE]
    return render(
        request,
        "campaigns.html",
        items=shown,
        counts=counts,
        order=chosen,
        decided=decided,
        first_page=after is None,
        next_cursor=queue.cursor_of(shown[-1]) if len(found) > PAGE else None,
        now=dt.datetime.now(dt.UTC),
    )


@router.post("/views")
async def save_view(request: Request, service: ServiceDep, visitor: Reader) -> Response:
    """Keep the queue's filter under a name."""
    form = await access.checked_form(request, visitor)
    listed = urlencode(fields_of(text(form, "listed")))
    now = dt.datetime.now(dt.UTC)
    try:
        await service.in_thread(
            lambda: views.save(service.engine, visitor.user.id, text(form, "name"), listed, now)
        )
    except views.ViewError as error:
        raise Refused(409, "The view was not saved", str(error)) from None
    return see_other(f"/review?{listed}" if listed else "/review")


@router.post("/views/{seq}/delete")
async def delete_view(request: Request, service: ServiceDep, visitor: Reader, seq: int) -> Response:
    """Forget one of one's own views."""
    form = await access.checked_form(request, visitor)
    if not await service.in_thread(lambda: views.delete(service.engine, visitor.user.id, seq)):
        raise Refused(404, "There is no such view", "It may have been deleted in another window.")
    listed = urlencode(fields_of(text(form, "listed")))
    return see_other(f"/review?{listed}" if listed else "/review")


@router.post("/bulk")
async def decide_several(request: Request, service: ServiceDep, visitor: Decider) -> Response:
    """Decide the calls that were ticked, each as if alone; say which ones could not be."""
    form = await access.checked_form(request, visitor)
    chosen = [str(one) for one in form.getlist("item")][: MOST_AT_ONCE + 1]
    listed = text(form, "listed")
    if not chosen:
        raise Refused(422, "No calls were chosen", "Tick the calls to decide, then choose what to decide.")
    if len(chosen) > MOST_AT_ONCE:
        raise Refused(422, "Too many calls at once", f"Choose at most {MOST_AT_ONCE}.")
    choice = choice_of(form)
    deciding.check(choice)
    now = dt.datetime.now(dt.UTC)

    def _decide() -> tuple[int, list[str]]:
        count, told = 0, []
        for one in chosen:
            call_id, _, version = one.partition(":")
            try:
                made = deciding.decide(
                    service.engine,
                    call_id,
                    choice,
                    visitor.user,
                    seen_version=int(version) if version.isdecimal() and len(version) < 9 else -1,
                    second_share=service.settings.review_second_share,
                    now=now,
                )
            except DecisionError as error:
                told.append(f"{call_id}: {error}")
            else:
                count += 1
                if made.told:
                    told.append(f"{call_id}: {made.told}")
        return count, told

    count, told = await service.in_thread(_decide)
    return render(
        request, "bulk.html", count=count, told=told, action=choice.action, back=f"/review?{listed}"
    )


def choice_of(form: Any) -> Choice:
    """Read what a reviewer chose."""
    action = _one_of(Action, text(form, "action"))
    if action is None:
        raise DecisionError("Choose what to decide: confirm, dismiss, second opinion or escalate.")
    return Choice(
        action=action,
        reason=text(form, "reason"),
        note=text(form, "note"),
        consent=_one_of(Consent, text(form, "consent")) or Consent.UNKNOWN,
    )


def neighbours(connection: Any, wanted: Wanted, item: queue.Item | None) -> tuple[str | None, str | None]:
    """Return the calls before and after a call in the queue's order, if it stands in it."""
    if item is None:
        return None, None
    at = queue.cursor_of(item)
    before = queue.page(connection, wanted, after=at, limit=1, backwards=True)
    following = queue.page(connection, wanted, after=at, limit=1)
    return (before[0].call_id if before else None), (following[0].call_id if following else None)


def place_of(connection: Any, wanted: Wanted, call_id: str) -> queue.Item | None:
    """Return a call as a row of the queue in an order, whether the filter lets it through or not."""
    return queue.single(connection, replace(Wanted(), state=wanted.state, order=wanted.order), call_id)
