"""Sending events to carriers' endpoints: a background task of ``voiceguard serve``.

Requests follow Standard Webhooks: ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``. Each goes to an
address that was checked a moment before (`voiceguard.api.addresses`), over a connection of its own, follows no
redirect, reads no body, and ends after `TIMEOUT_S`. Any number of processes may send from one database.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dt
import email.utils
import functools
import math
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx2
import sqlalchemy as sa
import structlog
from standardwebhooks import Webhook

from voiceguard import __version__
from voiceguard.api import addresses
from voiceguard.errors import StoreError
from voiceguard.store import outbox
from voiceguard.store.outbox import Claim, Outcome

TIMEOUT_S = 20.0
"""Longest one attempt, from the name's resolution to the answer's head; well under `outbox.LEASE`."""
CONNECT_TIMEOUT_S = 5.0
MAX_ADDRESSES = 3
"""How many of a host's addresses are tried until one takes the connection."""
AT_ONCE = 32
"""Most requests under way in one process."""
AT_ONCE_EACH = 4
"""Most requests under way to one endpoint from one process."""
POLL_S = 1.0
"""Pause between two looks for what is due: the longest that an event waits in a quiet process."""

Clock = Callable[[], dt.datetime]
_T = TypeVar("_T")
_log = structlog.get_logger()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Sender:
    """Takes what is due from the outbox and sends it.

    Parameters
    ----------
    engine
        The database.
    allow_private
        Whether endpoints may be inside the server's network, and plain ``http``.
    clock
        The present, UTC.
    rng
        For the jitter between attempts.
    resolve
        Host names to addresses.
    tls
        Which certificates count; by default those of public authorities and of ``SSL_CERT_FILE``.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        allow_private: bool,
        clock: Clock = _now,
        rng: random.Random | None = None,
        resolve: addresses.Resolve = addresses.resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._engine = engine
        self._allow_private = allow_private
        self._clock = clock
        self._rng = rng or random.Random()
        self._resolve = resolve
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: collections.Counter[str] = collections.Counter()
        # Threads of its own: a hanging name server must not keep results from being recorded.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="outbox")
        self._client = httpx2.AsyncClient(
            # A kept connection would be found again by address alone, whatever name its certificate was for.
            limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            verify=tls or httpx2.create_ssl_context(),
            follow_redirects=False,
            trust_env=False,  # a proxy would choose the address itself
            headers={"user-agent": f"VoiceGuard/{__version__}", "accept-encoding": "identity"},
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until ``stop`` is set; then return, with requests still under way."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            try:
                started = await self._start_due()
            except Exception as error:
                # Whatever it was, events must go on being sent when it is over.
                known = isinstance(error, StoreError)
                _log.warning("outbox unavailable", exc_info=None if known else error, error=str(error))
                started = 0
            if not started:
                # When one ends there is room for the next; of what another process wrote nothing tells.
                await asyncio.wait(
                    {stopped, *self._tasks}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED
                )

    async def deliver_due(self) -> int:
        """Make one round: send what is due now, wait for its end; return how many attempts were made."""
        started = await self._start_due()
        await self._finish()
        return started

    async def close(self, timeout_s: float) -> None:
        """Give requests under way ``timeout_s`` to end, then break them off: their leases end by themselves."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await self._finish()
        await self._client.aclose()
        self._threads.shutdown(wait=False)

    async def _finish(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start_due(self) -> int:
        free = AT_ONCE - len(self._tasks)
        if free <= 0:
            return 0
        room = {endpoint: AT_ONCE_EACH - busy for endpoint, busy in self._under_way.items()}
        claims = await self._in_thread(
            lambda: outbox.claim(self._engine, self._clock(), room=room, limit=free, each=AT_ONCE_EACH)
        )
        for claim in claims:
            task = asyncio.create_task(self._deliver(claim))
            self._tasks.add(task)
            self._under_way[claim.endpoint_id] += 1
            task.add_done_callback(functools.partial(self._ended, claim.endpoint_id))
        return len(claims)

    def _ended(self, endpoint_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._under_way[endpoint_id] -= 1
        if not self._under_way[endpoint_id]:
            del self._under_way[endpoint_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease ends by itself, and the delivery is tried again.
            _log.error("delivery broke off", endpoint_id=endpoint_id, exc_info=error)

    async def _deliver(self, claim: Claim) -> None:
        outcome = await self.attempt(claim)
        try:
            state = await self._in_thread(lambda: outbox.record(self._engine, claim, outcome, self._rng))
        except StoreError as error:
            _log.warning("delivery not recorded", delivery_id=claim.delivery_id, error=error.code)
            return
        _log.info(
            "webhook",
            event_id=claim.event_id,
            endpoint_id=claim.endpoint_id,
            attempt=claim.attempts + 1,
            state=state,
            status=outcome.status,
            error=outcome.error,
            seconds=round(outcome.duration_s, 3),
        )

    async def attempt(self, claim: Claim) -> Outcome:
        """Send one event to one endpoint once; no error of the endpoint's gets out of here."""
        attempted_at, began = self._clock(), time.monotonic()
        status, error, retry_after_s = None, None, None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, retry_after_s = await self._post(claim, attempted_at)
            error = _error_of_status(status)
        except _Refused as refused:
            error = str(refused)
        except (TimeoutError, httpx2.TimeoutException):
            error = "timeout"
        except httpx2.ConnectError as failure:
            error = "tls" if _is_tls(failure) else "connection"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            error = "connection"
        return Outcome(attempted_at, time.monotonic() - began, status, error, retry_after_s)

    async def _post(self, claim: Claim, at: dt.datetime) -> tuple[int, float | None]:
        url = httpx2.URL(claim.url)
        host = url.raw_host.decode("ascii")
        headers = {**signed_headers(claim, at), "host": url.netloc.decode("ascii")}
        found = (await self._addresses(host, url.port or (443 if url.scheme == "https" else 80)))[
            :MAX_ADDRESSES
        ]
        for place, address in enumerate(found, start=1):
            try:
                async with self._client.stream(
                    "POST",
                    url.copy_with(host=address),
                    content=claim.body,
                    headers=headers,
                    extensions={"sni_hostname": host},
                ) as response:
                    return response.status_code, _retry_after_s(response.headers.get("retry-after"), at)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as failure:
                if place == len(found) or _is_tls(failure):
                    raise
        raise _Refused("name_not_found")

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except (socket.gaierror, UnicodeError):
            raise _Refused("name_not_found") from None
        # One private address among public ones is a trick or a mistake: refuse them all.
        if not self._allow_private and not all(addresses.is_public(address) for address in found):
            raise _Refused("address_not_public")
        return found

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Refused(Exception):
    """An attempt that ended before a connection, with the word for it."""


@contextlib.asynccontextmanager
async def sending(sender: Sender, drain_timeout_s: float) -> AsyncIterator[None]:
    """Keep ``sender`` at work while the app serves; then let it finish."""
    stop = asyncio.Event()
    task = asyncio.create_task(sender.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
        await sender.close(drain_timeout_s)


def signed_headers(claim: Claim, at: dt.datetime) -> dict[str, str]:
    """Return the headers of Standard Webhooks, signed with each secret that is valid."""
    body = claim.body.decode()
    signatures = [
        Webhook(secret).sign(msg_id=claim.event_id, timestamp=at.astimezone(dt.UTC), data=body)
        for secret in claim.secrets
    ]
    return {
        "content-type": "application/json",
        "webhook-id": claim.event_id,
        "webhook-timestamp": str(math.floor(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _error_of_status(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "redirect"
    return "gone" if status == 410 else "status"


def _is_tls(failure: BaseException) -> bool:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _retry_after_s(value: str | None, now: dt.datetime) -> float | None:
    """Read ``Retry-After``, seconds or a date; None where it is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return (date.replace(tzinfo=date.tzinfo or dt.UTC) - now).total_seconds()
