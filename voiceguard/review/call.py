"""A call's page: listen, look, read what is known, decide."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData

from voiceguard.api.calls import byte_range
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service, ServiceDep
from voiceguard.audio import RATE_HZ
from voiceguard.detector import Detector, default_model_dir
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement.decisions import DecisionError, Made
from voiceguard.evidence.cue_ranges import load_ranges
from voiceguard.evidence.cues import Cues, measure_cues, readings
from voiceguard.evidence.rates import known_rates
from voiceguard.evidence.wording import verdict_in_words
from voiceguard.explanation import CueWeight, weigh_channel
from voiceguard.review import access, cases, maps, queue, sound
from voiceguard.review.access import Decider, Reader, Visitor, text
from voiceguard.review.pages import PageRoute, Refused, render, see_other
from voiceguard.screening import Screening
from voiceguard.store import audit, calls, decisions, people, retention
from voiceguard.store import queue as rows
from voiceguard.store.audit import Act, Action
from voiceguard.store.calls import Call
from voiceguard.store.decisions import State
from voiceguard.store.engine import reading, writing

router = APIRouter(prefix="/review/calls", route_class=PageRoute, include_in_schema=False)

_CALL_ID = re.compile("call_[0-9a-f]{32}")
_OTHERS = 8
_WEIGHTS_SHOWN = 6
_PART_BYTES = 1 << 20
"""A player that asks for all from somewhere gets a minute, and comes back for more."""
_SEEN = {Action.CALL_VIEWED, Action.CALL_PLAYED, Action.CALL_AUDIO_FETCHED}
_sounds = sound.Sounds()
_maps = maps.Maps()


@router.get("/{call_id}")
async def call_page(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    call_id: str,
    list: str = "",
    done: int | None = None,
) -> Response:
    """Show a call; that it was looked at is recorded."""
    return await _page(request, service, visitor, call_id, list, done=done)


async def _page(
    request: Request,
    service: Service,
    visitor: Visitor,
    call_id: str,
    listed: str,
    *,
    done: int | None = None,
    error: str | None = None,
    told: str | None = None,
    form: FormData | None = None,
) -> Response:
    values = await service.in_thread(lambda: _read(service, visitor, call_id, listed, done))
    if form is not None:
        values["draft"] = {name: text(form, name) for name in ("action", "reason", "note", "consent")}
    return render(
        request, "call.html", 409 if error else 200, listed=listed, error=error, told=told, **values
    )


def _read(service: Service, visitor: Visitor, call_id: str, listed: str, done: int | None) -> dict[str, Any]:
    call, screening = find(service, call_id)
    seen = Act(visitor.user.id, Action.CALL_VIEWED, call_id, {"purpose": visitor.session.purpose.value})
    with writing(service.engine) as connection:
        audit.append(connection, seen)
    wanted = queue.wanted_by(queue.fields_of(listed), visitor)
    with reading(service.engine) as connection:
        review = decisions.find(connection, call_id)
        made = decisions.of_call(connection, call_id)
        before, following = queue.neighbours(connection, wanted, queue.place_of(connection, wanted, call_id))
        others = []
        if call.campaign_id is not None:
            of_it = rows.Wanted(state=None, campaign_id=call.campaign_id)
            others = [
                one
                for one in rows.page(connection, of_it, after=None, limit=_OTHERS + 1)
                if one.call_id != call_id
            ][:_OTHERS]
        log = audit.rows_of(connection, [call_id])
        own = rows.single(connection, rows.Wanted(state=None), call_id)
        mine = decisions.one(connection, done) if done is not None else None
        case_card = cases.card(connection, call_id, *([call.campaign_id] if call.campaign_id else []))
    names = {user.id: user.name for user in people.everyone(service.engine)}
    hidden = _hidden(visitor, review, made)
    return {
        "call": call,
        "screening": screening,
        "item": own,
        "review": review,
        "version": review.version if review else 0,
        "made": [] if hidden else made,
        "gone": {row.supersedes for row in made},
        "hidden": hidden,
        "before": before,
        "following": following,
        "others": others,
        "log": [] if hidden else [row.fields for row in log if row.fields["action"] != Action.CALL_DECIDED],
        "names": names,
        "said": verdict_in_words(screening),
        "rates": known_rates(
            evaluation(service), codec=screening.codec, speech_s=screening.decision.quality.speech_s
        ),
        "done": mine if mine and mine.reviewer_id == visitor.user.id else None,
        "draft": {"action": "", "reason": "", "note": "", "consent": ""},
        **case_card,
        "now": dt.datetime.now(dt.UTC),
    }


def _hidden(visitor: Visitor, review: decisions.Review | None, made: list[decisions.Decision]) -> bool:
    """Say whether what others decided is kept from this person, whose own opinion is wanted."""
    if review is None or review.state is not State.SECOND or not visitor.may("decide"):
        return False
    return all(row.reviewer_id != visitor.user.id for row in made)


def find(service: Service, call_id: str) -> tuple[Call, Screening]:
    """Return a call, or end the request with a page that says where it went."""
    if _CALL_ID.fullmatch(call_id):
        with reading(service.engine) as connection:
            found = calls.get(connection, call_id)
            if found is not None:
                return found
            tombstone = retention.tombstone(connection, call_id)
        if tombstone is not None:
            raise Refused(
                410,
                "This call was deleted",
                f"It was deleted on {tombstone.deleted_at:%Y-%m-%d} ({tombstone.reason}). Decisions about it are kept.",
            )
    raise Refused(404, "There is no such call", "Check the address, or look for the number in the queue.")


def evaluation(service: Service) -> bytes | None:
    """Return the evaluation that came with the running model."""
    path = default_model_dir(service.settings.model) / "evaluation.json"
    return path.read_bytes() if path.exists() else None


@router.get("/{call_id}/audio/{channel}")
async def audio(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    call_id: str,
    channel: int,
    range_: str | None = Header(None, alias="range"),
) -> Response:
    """Send a channel to the player; that it was played is recorded, with the purpose."""

    def _load() -> bytes:
        call, samples = _samples(service, call_id, channel)
        if range_ is None or range_.startswith("bytes=0-"):
            said = {
                "purpose": visitor.session.purpose.value,
                "channel": channel,
                "recording_sha256": call.recording_sha256,
            }
            with writing(service.engine) as connection:
                audit.append(connection, Act(visitor.user.id, Action.CALL_PLAYED, call_id, said))
        return sound.as_wav(samples)

    data = await service.in_thread(_load)
    try:
        part = byte_range(range_, len(data))
    except Problem:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-store"}
    if part is None:
        return Response(data, headers=headers, media_type="audio/wav")
    part = (part[0], min(part[1], part[0] + _PART_BYTES))
    headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{len(data)}"
    return Response(data[part[0] : part[1]], 206, headers=headers, media_type="audio/wav")


@router.get("/{call_id}/outline/{channel}")
async def outline(
    request: Request, service: ServiceDep, visitor: Reader, call_id: str, channel: int
) -> Response:
    """Send what the player draws of a channel."""
    found = await service.in_thread(lambda: sound.outline(_samples(service, call_id, channel)[1]))
    return JSONResponse(dataclasses.asdict(found))


@router.get("/{call_id}/spectrogram/{channel}")
async def spectrogram(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    call_id: str,
    channel: int,
    start_s: Annotated[float, Query(ge=0, lt=1e6)] = 0.0,
    end_s: Annotated[float, Query(ge=0, lt=1e6)] = 1e6 - 1,
) -> Response:
    """Send a channel's spectrogram, or that of a part, as a picture."""

    def _draw() -> bytes:
        samples = _samples(service, call_id, channel)[1]
        return sound.spectrogram(samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)])

    return Response(await service.in_thread(_draw), media_type="image/png")


@router.get("/{call_id}/map/{channel}/{index}")
async def score_map(
    request: Request, service: ServiceDep, visitor: Reader, call_id: str, channel: int, index: int
) -> Response:
    """Send what moved a window's score, as a piece of page; it takes a second or more."""

    def _map() -> maps.Map | None:
        call, samples = _samples(service, call_id, channel)
        _, screening = find(service, call_id)
        detector = _detector(default_model_dir(service.settings.model))
        if detector.record.id != screening.model:
            raise Refused(
                409, "Another model gave this score", "What moved it can only be found with that model."
            )
        return _maps.map(detector, call.recording_sha256, channel, index, samples)

    found = await service.in_thread(_map)
    if found is None:
        raise Refused(404, "There is no such window", "Windows are counted from 0.")
    address = f"/review/calls/{call_id}/spectrogram/{channel}"
    return render(request, "map.html", map=found, index=index, address=address)


@router.get("/{call_id}/cues/{channel}")
async def cues(
    request: Request, service: ServiceDep, visitor: Reader, call_id: str, channel: int
) -> Response:
    """Send a channel's cues and what moved its score, as a piece of page; the page does not wait for them."""

    def _measure() -> tuple[Cues, tuple[CueWeight, ...]]:
        _, screening = find(service, call_id)
        _, samples = _samples(service, call_id, channel)
        weights = _weights(service, screening, samples) if screening.channels[channel].windows else ()
        return measure_cues(samples, screening.channels[channel].speech), weights

    found, weights = await service.in_thread(_measure)
    return render(
        request,
        "cues.html",
        cues=found,
        readings=readings(found),
        ranges=load_ranges(default_model_dir(service.settings.model)),
        weights=weights[:_WEIGHTS_SHOWN],
    )


def _weights(service: Service, screening: Screening, samples: np.ndarray) -> tuple[CueWeight, ...]:
    """Say what moved a channel's score; nothing where another model than the present one gave it."""
    detector = _detector(default_model_dir(service.settings.model))
    if detector.record.id != screening.model:
        return ()
    return weigh_channel(detector, samples)


@functools.cache
def _detector(folder: Path) -> Detector:
    return Detector(folder)


def _samples(service: Service, call_id: str, channel: int) -> tuple[Call, Any]:
    call, screening = find(service, call_id)
    if not 0 <= channel < len(screening.channels):
        raise Refused(404, "There is no such channel", "Channels are counted from 0.")
    recording = _sounds.recording(service.recordings, call.recording_sha256)
    return call, recording.channels[channel]


@router.post("/{call_id}/decide")
async def decide(request: Request, service: ServiceDep, visitor: Decider, call_id: str) -> Response:
    """Decide a call, and go on to the next one."""
    form = await access.checked_form(request, visitor)
    listed = text(form, "list")
    seen = text(form, "version")

    def _decide() -> tuple[Made, str | None]:
        find(service, call_id)
        wanted = queue.wanted_by(queue.fields_of(listed), visitor)
        with reading(service.engine) as connection:
            place = queue.place_of(connection, wanted, call_id)
            _, following = queue.neighbours(connection, wanted, place)
        made = deciding.decide(
            service.engine,
            call_id,
            queue.choice_of(form),
            visitor.user,
            seen_version=int(seen) if seen.isdecimal() and len(seen) < 9 else -1,
            second_share=service.settings.review_second_share,
            now=dt.datetime.now(dt.UTC),
        )
        return made, following

    try:
        made, following = await service.in_thread(_decide)
    except DecisionError as error:
        return await _page(request, service, visitor, call_id, listed, error=str(error), form=form)
    if made.told:
        return await _page(request, service, visitor, call_id, listed, told=made.told, done=made.seq)
    if following is None:
        return see_other(f"/review?{listed}" if listed else "/review", done=made.seq)
    return see_other(f"/review/calls/{following}", list=listed or None, done=made.seq)


@router.post("/undo/{seq}")
async def undo(request: Request, service: ServiceDep, visitor: Decider, seq: int) -> Response:
    """Take one's own last decision back, and go to what it was about."""
    form = await access.checked_form(request, visitor)
    now = dt.datetime.now(dt.UTC)
    taken = await service.in_thread(lambda: deciding.undo(service.engine, seq, visitor.user, now))
    if taken.call_id is None:
        return see_other(f"/review/campaigns/{taken.campaign_id}")
    return see_other(f"/review/calls/{taken.call_id}", list=text(form, "list") or None)
