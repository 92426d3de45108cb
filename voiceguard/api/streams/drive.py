"""Drives a stream from its events to its end, whatever it came over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from voiceguard.api.problems import Problem
from voiceguard.api.service import Service
from voiceguard.api.streams.about import About
from voiceguard.api.streams.ends import CODES, End, StreamCut
from voiceguard.api.streams.session import LiveStream, Send
from voiceguard.errors import SignallingError, StorageFull, VoiceGuardError
from voiceguard.store.keys import ApiKey
from voiceguard.telephony.streams import AudioChunk, Event, StreamStart

MESSAGES_AT_ONCE = 6000
MESSAGES_A_SECOND = 500
"""Ten times what a telephone sends in 20 ms frames; the burst is what a switch holds back in a minute, twice."""

_ENDS = {"": "stop", "hangup": "stop", "closed": "closed"}

_log = structlog.get_logger()


class ConnectionLost(Exception):
    """The connection ended without an end of the stream."""


@dataclass(frozen=True)
class Admitted:
    """Who streams, and what is said of the call."""

    key: ApiKey
    about: About


async def drive(
    service: Service,
    protocol: str,
    events: AsyncIterator[Event],
    admit: Callable[[StreamStart], Awaitable[Admitted]],
    send: Send,
) -> End:
    """Receive a stream until it ends; store it; send its events. Return how it ended."""
    with contextlib.ExitStack() as stack:
        stream: LiveStream | None = None
        end = End("internal_error")
        try:
            async with asyncio.timeout(service.settings.stream_start_timeout_s) as deadline:
                loop = asyncio.get_running_loop()
                async for event in events:
                    if isinstance(event, AudioChunk):
                        if stream is not None:
                            await stream.take(event)
                            deadline.reschedule(loop.time() + service.settings.stream_idle_timeout_s)
                    elif isinstance(event, StreamStart):
                        admitted = await admit(event)
                        stack.enter_context(service.streams.streaming(admitted.key))
                        await _check_disk(service)
                        stream = LiveStream(service, protocol, admitted.key, event, admitted.about, send)
                        await send(
                            {"event": "start", "call_id": stream.call_id, "notes": admitted.about.notes}
                        )
                        deadline.reschedule(loop.time() + service.settings.stream_idle_timeout_s)
                    else:
                        end = End(_ENDS.get(event.reason, "connection_lost"))
                        break
                else:
                    end = End("connection_lost")
        except TimeoutError:
            end = End("stream_silent", CODES["stream_silent"][1])
        except ConnectionLost:
            end = End("restart" if service.streams.closing.is_set() else "connection_lost")
        except StreamCut as cut:
            end = cut.end
        except Problem as problem:
            end = End(problem.code, str(problem))
        except (SignallingError, StorageFull) as error:
            end = End(error.code, str(error))
        except VoiceGuardError as error:
            _log.error("stream failed", protocol=protocol, error=str(error))
        except Exception:
            _log.exception("stream failed", protocol=protocol)
        if not end.complete and end.code not in ("connection_lost", "restart"):
            with contextlib.suppress(StreamCut):
                await send({"event": "error", "code": end.code, "detail": end.detail or CODES[end.code][1]})
        if stream is not None:
            told = await stream.finish(end)
            with contextlib.suppress(StreamCut):
                await send(told)
        service.metrics.stream_ends.labels(protocol, end.code).inc()
        _log.info(
            "stream ended",
            protocol=protocol,
            ended=end.code,
            call_id=stream.call_id if stream else None,
            audio_s=round(stream.audio_s, 2) if stream else 0,
            verdict=stream.verdict if stream else None,
        )
        return end


async def _check_disk(service: Service) -> None:
    if await service.in_thread(service.recordings.free_bytes) < service.settings.min_free_bytes:
        raise StorageFull


class MessageMeter:
    """Refuses floods of messages, however small they are."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._count = 0

    def count(self) -> None:
        """Count a message; raise `StreamCut` if there are too many."""
        self._count += 1
        if self._count % 256 == 0:
            allowed = MESSAGES_AT_ONCE + MESSAGES_A_SECOND * (time.monotonic() - self._began)
            if self._count > allowed:
                raise StreamCut(
                    "stream_too_fast", f"Expected at most {allowed:.0f} messages by now, got {self._count}."
                )
