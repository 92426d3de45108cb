"""Asterisk's AudioSocket: a TCP server of its own, and the announcement of calls to it.

The protocol has room for a UUID and no more, so the call is announced first: an API request with its key says who
calls whom and gets (or chooses) the UUID, which then opens one connection. There is no encryption: keep the port
inside the network of the switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from voiceguard.api import docs
from voiceguard.api.auth import needs
from voiceguard.api.models import CallIn, Moment
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service, ServiceDep
from voiceguard.api.streams.about import read_about
from voiceguard.api.streams.door import may_stream
from voiceguard.api.streams.drive import Admitted, ConnectionLost, MessageMeter, drive
from voiceguard.store import announced, keys
from voiceguard.store.engine import writing
from voiceguard.store.keys import ApiKey, Scope
from voiceguard.telephony.streams import AudioSocketAdapter, Event, StreamStart, StreamStop

router = APIRouter(prefix="/v1/streams", tags=["streams"])

ANNOUNCED_FOR = dt.timedelta(hours=1)
_READ_BYTES = 16 * 1024
_HANGUP = b"\x00\x00\x00"
_log = structlog.get_logger()

Streamer = Annotated[ApiKey, Depends(needs(Scope.STREAMS))]


class AnnounceIn(CallIn):
    """A call whose media will come over AudioSocket."""

    started_at: Moment | None = Field(None, description="Ignored: a live call begins when its media does.")  # type: ignore[assignment]
    uuid: UUID | None = Field(None, description="Of your own; by default a new one.")


class AnnounceOut(BaseModel):
    """The UUID that opens one AudioSocket connection."""

    uuid: UUID
    expires_at: Moment


@router.post(
    "/audiosocket",
    status_code=201,
    summary="Announce a call to AudioSocket",
    responses=docs.errors(401, 403, 409, 422, 429, 503),
)
async def announce(service: ServiceDep, key: Streamer, posted: AnnounceIn) -> AnnounceOut:
    """Announce a call; its UUID opens one connection to the AudioSocket port, within an hour."""
    now = dt.datetime.now(dt.UTC)
    uuid, expires_at = posted.uuid or uuid4(), now + ANNOUNCED_FOR
    call = posted.model_dump(mode="json", exclude={"uuid", "started_at"}, exclude_none=True)

    def _add() -> bool:
        with writing(service.engine) as connection:
            return announced.add(connection, str(uuid), key.id, call, now=now, expires_at=expires_at)

    if not await service.in_thread(_add):
        raise Problem("uuid_in_use", f"Expected a UUID that no call has been announced with, got {uuid}.")
    return AnnounceOut(uuid=uuid, expires_at=expires_at)


@contextlib.asynccontextmanager
async def listening(service: Service) -> AsyncIterator[None]:
    """Serve AudioSocket if the settings name a port; at the end store what is running."""
    port = service.settings.audiosocket_port
    if port is None:
        yield
        return
    open_: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_[task] = writer
        try:
            await _serve(service, reader, writer)
        finally:
            del open_[task]

    server = await asyncio.start_server(_connected, service.settings.host, port, limit=_READ_BYTES)
    _log.info("AudioSocket listens", port=server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        server.close()
        service.streams.closing.set()
        for writer in open_.values():
            writer.transport.abort()
        if open_:
            await asyncio.wait(list(open_), timeout=service.settings.drain_timeout_s)


async def _serve(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def _admit(start: StreamStart) -> Admitted:
        return await _admitted(service, start)

    async def _send(event: dict[str, Any]) -> None:
        """AudioSocket has no message for it; webhooks and GET /v1/calls tell."""

    try:
        with service.streams.connected():
            await drive(service, "audiosocket", _events(service, reader), _admit, _send)
    except Problem as problem:
        _log.warning("AudioSocket connection refused", code=problem.code)
    finally:
        with contextlib.suppress(OSError):
            if not writer.transport.is_closing():
                writer.write(_HANGUP)
            writer.close()
            await writer.wait_closed()


async def _events(service: Service, reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    adapter, meter, begun = AudioSocketAdapter(), MessageMeter(), False
    while True:
        try:
            data = await reader.read(_READ_BYTES)
        except OSError:
            raise ConnectionLost from None
        if not data:
            if not begun or service.streams.closing.is_set():
                raise ConnectionLost
            yield StreamStop("closed")  # closing is as good as a hangup frame
            return
        meter.count()
        for event in adapter.feed(data):
            begun = True
            yield event


async def _admitted(service: Service, start: StreamStart) -> Admitted:
    now = dt.datetime.now(dt.UTC)

    def _take() -> tuple[ApiKey | None, dict[str, Any]]:
        with writing(service.engine) as connection:
            found = announced.take(connection, start.stream_id, now=now)
        if found is None:
            raise Problem("invalid_key", "Expected the UUID of an announced call.")
        return keys.named(service.engine, found[0]), found[1]

    key, call = await service.in_thread(_take)
    return Admitted(may_stream(key), read_about(start.call_id, call))
