"""From an upload to a promise: received, screened, on disk and committed, and only then answered.

Steps, in this order; the numbers stand in the code:

1. The upload goes to a temporary file and is hashed on the way.
2. Its idempotency key may have an answer already.
3. It is screened while the disk takes the bytes.
4. The recording moves to its place.
5. Call, screening, campaign, idempotent answer, events and audit rows are committed in one transaction.

A crash before 5 leaves a temporary file, which the next start removes, or a recording without a call, which
the retry adopts or the upkeep removes. After 5 everything is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from cryptography import x509
from fastapi import Request
from pydantic import BaseModel, ValidationError

from voiceguard.api import problems, upload
from voiceguard.api.identity import read_identity
from voiceguard.api.models import CallIn, CallOut
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service
from voiceguard.enforcement import campaigns, storing
from voiceguard.enforcement.campaigns import Joined
from voiceguard.errors import StorageFull
from voiceguard.fingerprint import Fingerprint
from voiceguard.screening import Screening
from voiceguard.store import idempotency, outbox
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import reading
from voiceguard.store.idempotency import StoredAnswer
from voiceguard.store.keys import ApiKey
from voiceguard.store.outbox import EventType
from voiceguard.store.recordings import Upload
from voiceguard.store.schema import new_id
from voiceguard.verdict import Verdict

_Model = TypeVar("_Model", bound=BaseModel)


@contextlib.asynccontextmanager
async def receiving(
    request: Request, service: Service, key: ApiKey
) -> AsyncIterator[tuple[Upload, upload.Form]]:
    """Admit the request and receive its body (step 1); the temporary file is gone at the end."""
    settings = service.settings
    announced = upload.check_length(request, settings.max_upload_bytes)
    with service.admission.enter(key.carrier_id):
        service.metrics.in_flight.set(service.admission.in_flight)
        if await service.in_thread(service.recordings.free_bytes) < settings.min_free_bytes + announced:
            raise StorageFull
        with service.recordings.upload() as incoming:
            form = await upload.receive(
                request,
                incoming,
                max_audio_bytes=settings.max_upload_bytes,
                timeout_s=settings.upload_timeout_s,
            )
            yield incoming, form


async def screen(
    service: Service, incoming: Upload, form: upload.Form, remote_channel: int | None
) -> Screening:
    """Screen an upload in one of the processes."""
    screening, seconds = await service.pool.screen(
        incoming.path, name=form.filename, remote_channel=remote_channel
    )
    note_screening(service, screening, seconds)
    return screening


async def screen_and_print(
    service: Service, incoming: Upload, name: str | None, remote_channel: int | None
) -> tuple[Screening, Fingerprint | None]:
    """Screen an upload that is to be stored, and fingerprint what decides."""
    screening, fingerprint, seconds = await service.pool.screen_and_print(
        incoming.path, name=name, remote_channel=remote_channel
    )
    note_screening(service, screening, seconds)
    return screening, fingerprint


def note_screening(service: Service, screening: Screening, seconds: float) -> None:
    """Count a screening in the metrics."""
    service.admission.screened(seconds)
    service.metrics.screening_seconds.observe(seconds)
    service.metrics.screened_seconds.inc(screening.duration_s)
    service.metrics.verdicts.labels(screening.decision.verdict).inc()


async def take(
    service: Service,
    key: ApiKey,
    incoming: Upload,
    form: upload.Form,
    idempotency_key: str | None,
    known: StoredAnswer | None,
) -> tuple[StoredAnswer, bool]:
    """Turn a received upload into a stored call; return the answer, and whether it was given before.

    ``known`` is the answer that the key has already, as `claimed` says.
    """
    if form.call is None:
        raise upload.missing("call", "Expected a part named call that holds JSON.")
    posted = parse(CallIn, form.call)
    call = new_call(posted, key, service.trust_anchors)
    print_ = _fingerprint(incoming.sha256, posted)
    if known is not None:  # step 2
        return _same_request(known, print_), True
    syncing = asyncio.create_task(asyncio.to_thread(incoming.sync))  # step 3
    try:
        screening, fingerprint = await screen_and_print(service, incoming, form.filename, call.remote_channel)
    finally:
        await syncing
    said = CallOut.of(call, screening)

    def _answer(joined: Joined) -> StoredAnswer:
        text = said.model_copy(update=joined_members(joined)).model_dump_json()
        return StoredAnswer(print_, call.id, 201, text)

    try:
        answer = await service.in_thread(
            lambda: store(
                service,
                key,
                incoming,
                call,
                screening,
                fingerprint,
                answer=_answer,
                idempotency_key=idempotency_key,
            )
        )
        assert answer is not None
    except sa.exc.IntegrityError:
        # Two requests with one key in two processes that could not see each other: the first one counts.
        if idempotency_key is None:
            raise
        known = await service.in_thread(lambda: _answer_for(service, key, idempotency_key))
        if known is None:
            raise
        return _same_request(known, print_), True
    return answer, False


def store(
    service: Service,
    key: ApiKey,
    incoming: Upload,
    call: NewCall,
    screening: Screening,
    fingerprint: Fingerprint | None = None,
    *,
    answer: Callable[[Joined], StoredAnswer] | None = None,
    idempotency_key: str | None = None,
) -> StoredAnswer | None:
    """Store a screened call and all that hangs on it; posted calls and live ones alike.

    Returns what ``answer`` makes of the campaign that the call has joined; the key, if there is one, gets the
    same answer from now on.
    """
    service.recordings.put(incoming)  # step 4
    with service.metrics.lookup_seconds.time():
        found = campaigns.look_up(service.engine, screening, fingerprint)
    answered: StoredAnswer | None = None

    def _beside(connection: sa.Connection, joined: Joined) -> None:
        nonlocal answered
        answered = answer(joined) if answer is not None else None
        if idempotency_key is not None and answered is not None:
            idempotency.remember(connection, call.carrier_id, idempotency_key, answered)
        _announce(connection, call, screening, joined)

    joined = storing.commit(  # step 5
        service.engine,
        service.recordings,
        call,
        screening,
        found,
        actor=key.id,
        carrier=key.carrier_name,
        sizes=service.settings.campaign_sizes,
        random_share=service.settings.review_random_share,
        beside=_beside,
    )
    service.metrics.joined.labels(joined.how).inc()
    return answered


def joined_members(joined: Joined) -> dict[str, Any]:
    """Return the members of a call's answer that its campaign decides."""
    return {
        "campaign_id": joined.campaign_id,
        "prerecorded": joined.calls > 1,
        "announcement": joined.announcement,
    }


def _announce(connection: sa.Connection, call: NewCall, screening: Screening, joined: Joined) -> None:
    decision = screening.decision
    data = {
        "call_id": call.id,
        "carrier_call_id": call.carrier_call_id,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "score": decision.score,
        "sha256": screening.sha256,
        "campaign_id": joined.campaign_id,
        "prerecorded": joined.calls > 1,
    }
    outbox.enqueue(connection, EventType.CALL_SCREENED, call.carrier_id, data, now=call.received_at)
    if decision.verdict is Verdict.SYNTHETIC:
        outbox.enqueue(connection, EventType.CALL_FLAGGED, call.carrier_id, data, now=call.received_at)


def parse(model: type[_Model], text: bytes) -> _Model:
    """Read a JSON part; a `Problem` says what is wrong with it."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise problems.invalid([{**one, "loc": ("call", *one["loc"])} for one in found]) from None


def new_call(posted: CallIn, key: ApiKey, anchors: Sequence[x509.Certificate]) -> NewCall:
    """Return the call that is to be stored: what was said of it, and what its Identity header says."""
    passports, attestation = read_identity(posted, anchors)
    identity = "\n".join(posted.identity) if isinstance(posted.identity, list) else posted.identity
    return NewCall(
        id=new_id("call"),
        carrier_id=key.carrier_id,
        started_at=posted.started_at,
        received_at=dt.datetime.now(dt.UTC),
        carrier_call_id=posted.carrier_call_id,
        caller=posted.caller,
        callee=posted.callee,
        identity=_storable(identity) or None,
        passports=_storable(passports) or None,
        attestation=_storable(dataclasses.asdict(attestation)) if attestation else None,
        upstream_provider=posted.upstream_provider,
        recording_basis=posted.recording_basis,
        remote_channel=posted.remote_channel,
        salt=secrets.token_hex(16),
    )


def _storable(value: Any) -> Any:
    """Replace what PostgreSQL keeps in no text: NUL, and surrogates that a token's JSON may spell out."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return value


def _fingerprint(audio_sha256: str, posted: CallIn) -> str:
    """Return the hash of what a request says, however its JSON and multipart are laid out."""
    said = json.dumps([audio_sha256, posted.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def _answer_for(service: Service, key: ApiKey, idempotency_key: str) -> StoredAnswer | None:
    with reading(service.engine) as connection:
        return idempotency.answer_for(connection, key.carrier_id, idempotency_key)


def _same_request(known: StoredAnswer, print_: str) -> StoredAnswer:
    """Return the stored answer; 422 if it was given to another request."""
    if known.fingerprint != print_:
        raise Problem("idempotency_key_reused")
    return known


@contextlib.asynccontextmanager
async def claimed(
    service: Service, key: ApiKey, idempotency_key: str | None
) -> AsyncIterator[StoredAnswer | None]:
    """Hold the idempotency key while its request is handled; give the answer that it has already, if any.

    409 if another request holds it.
    """
    if idempotency_key is None:
        yield None
        return
    held = False

    def _claim() -> StoredAnswer | None:
        nonlocal held
        held = service.in_flight.take(key.carrier_id, idempotency_key)
        # Nobody else can store an answer from now on.
        return _answer_for(service, key, idempotency_key) if held else None

    try:
        known = await service.in_thread(_claim)
        if not held:
            raise Problem("in_flight", headers=problems.retry_after(1))
        yield known
    finally:
        if held:
            await service.in_thread(lambda: service.in_flight.release(key.carrier_id, idempotency_key))


def idempotency_key(header: str | None) -> str | None:
    """Read the Idempotency-Key header: a structured-field string, or the bare characters many clients send."""
    if header is None:
        return None
    value = header.strip()
    if value.startswith('"'):
        if len(value) < 2 or not value.endswith('"'):
            raise Problem("invalid_idempotency_key")
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(value) <= 255 or not value.isascii() or not value.isprintable():
        raise Problem("invalid_idempotency_key")
    return value
