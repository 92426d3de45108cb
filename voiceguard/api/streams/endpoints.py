"""The WebSocket endpoints, one for each protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketState

from voiceguard.api import problems
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service
from voiceguard.api.streams import door
from voiceguard.api.streams.about import KEY, read_about
from voiceguard.api.streams.drive import Admitted, ConnectionLost, MessageMeter, drive
from voiceguard.api.streams.ends import RESTART, StreamCut
from voiceguard.errors import SignallingError, UnsupportedStream
from voiceguard.store.keys import ApiKey
from voiceguard.telephony.streams import (
    AsteriskAdapter,
    Event,
    LinearAdapter,
    MessageAdapter,
    PcmAdapter,
    StreamStart,
    StreamStop,
    TwilioAdapter,
)

router = APIRouter(prefix="/v1/streams", tags=["streams"])

SEND_TIMEOUT_S = 10.0
_CLOSED_BY_CLIENT = (1000, 1001, 1005)
"""Close codes of an orderly end: normal, going away, none given."""
_log = structlog.get_logger()


@router.websocket("/twilio")
async def twilio(socket: WebSocket) -> None:
    """Twilio Media Streams, and what is built like it."""
    await _serve(socket, "twilio", lambda query: TwilioAdapter())


@router.websocket("/vonage")
async def vonage(socket: WebSocket) -> None:
    """Vonage WebSockets; FreeSWITCH's mod_audio_fork and mod_audio_stream."""
    await _serve(socket, "vonage", _linear)


@router.websocket("/asterisk")
async def asterisk(socket: WebSocket) -> None:
    """Asterisk's chan_websocket."""
    await _serve(socket, "asterisk", lambda query: AsteriskAdapter())


@router.websocket("/pcm")
async def pcm(socket: WebSocket) -> None:
    """One JSON message, then audio."""
    await _serve(socket, "pcm", lambda query: PcmAdapter())


def _linear(query: dict[str, str]) -> LinearAdapter:
    rate, channels = query.get("rate", "16000"), query.get("channels", "1")
    if not (rate.isdecimal() and len(rate) <= 6 and channels.isdecimal() and len(channels) == 1):
        raise UnsupportedStream("Expected numbers as rate and channels in the address, got other text.")
    return LinearAdapter(int(rate), int(channels))


async def _serve(
    socket: WebSocket, protocol: str, make_adapter: Callable[[dict[str, str]], MessageAdapter]
) -> None:
    service: Service = socket.app.state.service
    socket.state.who, socket.state.extra_headers = {}, {}
    query = dict(socket.query_params)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(service.streams.connected())
            adapter = make_adapter(query)
            key = await door.key_of_upgrade(socket, service)
        except (Problem, SignallingError) as error:
            await _deny(socket, error)
            return
        offered = socket.headers.get("sec-websocket-protocol", "").split(",")[0].strip()
        await socket.accept(subprotocol=offered or None)
        send = _Sender(socket, quiet=query.get("events") == "off")

        async def _admit(start: StreamStart) -> Admitted:
            return await _admitted(socket, service, protocol, key, start, query)

        end = await drive(service, protocol, _events(socket, adapter), _admit, send)
        if socket.client_state is WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, OSError):
                await socket.close(end.close_code, end.code)


async def _admitted(
    socket: WebSocket,
    service: Service,
    protocol: str,
    key: ApiKey | None,
    start: StreamStart,
    query: dict[str, str],
) -> Admitted:
    if key is None:
        secret = start.parameters.get(KEY)
        if not secret:
            raise Problem("missing_key", "Expected an API key with the request or in the start message.")
        key = await door.key_of_secret(socket, service, secret)
    # Whoever calls in, or is called, is inbound for the one who streams.
    defaults = {"remote_channel": "0"} if protocol == "twilio" else {}
    return Admitted(key, read_about(start.call_id, start.parameters, query, defaults))


async def _events(socket: WebSocket, adapter: MessageAdapter) -> AsyncIterator[Event]:
    """Yield the events of a WebSocket's messages."""
    meter = MessageMeter()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            if adapter.ends_by_close and message.get("code", 1005) in _CLOSED_BY_CLIENT:
                yield StreamStop("closed")
                return
            if message.get("code") == RESTART:
                raise StreamCut("restart")
            raise ConnectionLost
        meter.count()
        text = message.get("text")
        for event in adapter.text(text) if text is not None else adapter.binary(message.get("bytes") or b""):
            yield event


class _Sender:
    """Sends events to a client that may be gone, or may not read."""

    def __init__(self, socket: WebSocket, quiet: bool) -> None:
        self._socket = socket
        self._quiet = quiet

    async def __call__(self, event: dict[str, Any]) -> None:
        if self._quiet or self._socket.client_state is not WebSocketState.CONNECTED:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_text(json.dumps(event))
        except TimeoutError:
            self._quiet = True
            raise StreamCut("stream_not_read") from None
        except Exception as error:  # a closed socket raises what its server likes
            self._quiet = True
            _log.debug("event not sent", error=repr(error))


async def _deny(socket: WebSocket, error: Problem | SignallingError) -> None:
    """Refuse the upgrade with a problem, as any request is refused."""
    problem = error if isinstance(error, Problem) else Problem(error.code, str(error))
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(problems.response(None, problem))
    else:
        await socket.close(RESTART, problem.code)
