"""Sending mails and pages, and keeping the notices' clocks: a background task of ``voiceguard serve``.

Any number of processes may do it from one database: a step of a clock and a message are each taken by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa
import structlog

from voiceguard.api.delivery import Sender
from voiceguard.enforcement import hotline, mail
from voiceguard.errors import StoreError
from voiceguard.settings import Settings
from voiceguard.store import messages
from voiceguard.store.messages import Channel, Message
from voiceguard.store.outbox import Claim

AT_ONCE = 4
"""Most messages under way in one process."""
POLL_S = 1.0
"""Pause between two looks: the longest that a page waits in a quiet process."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class Post:
    """Does the hotline's steps and sends what is due.

    Parameters
    ----------
    engine, settings
        The database and the mail server.
    sender
        Posts pages by webhook.
    clock
        The present, UTC.
    """

    def __init__(
        self, engine: sa.Engine, settings: Settings, sender: Sender, clock: Callable[[], dt.datetime]
    ) -> None:
        self._engine, self._settings, self._sender, self._clock = engine, settings, sender, clock
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, thread_name_prefix="post")
        self._channels = (Channel.WEBHOOK, Channel.EMAIL) if settings.mail_from else (Channel.WEBHOOK,)

    async def run(self, stop: asyncio.Event) -> None:
        """Make rounds until ``stop`` is set."""
        while not stop.is_set():
            try:
                sent = await self.round()
            except Exception as error:
                # Whatever it was, notices must go on being sent when it is over.
                known = isinstance(error, StoreError)
                _log.warning("post unavailable", exc_info=None if known else error, error=str(error))
                sent = 0
            if not sent:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL_S)

    async def round(self) -> int:
        """Do the steps that are due and send what is due; return how many attempts were made."""
        await self._in_thread(lambda: hotline.tick(self._engine, self._clock()))
        taken = await self._in_thread(
            lambda: messages.claim(self._engine, self._clock(), limit=AT_ONCE, channels=self._channels)
        )
        await asyncio.gather(*(self._attempt(one) for one in taken))
        return len(taken)

    def close(self) -> None:
        """Let what is under way end."""
        self._threads.shutdown()

    async def _attempt(self, message: Message) -> None:
        began = time.monotonic()
        if message.channel is Channel.EMAIL:
            handed = await self._in_thread(
                lambda: mail.hand(
                    self._settings,
                    message,
                    functools.partial(self._hand_over, message),
                )
            )
        else:
            handed = await self._by_webhook(message)
        if handed.given_up:
            return
        state = await self._in_thread(
            lambda: messages.record(
                self._engine,
                message,
                self._clock(),
                error=handed.error,
                final=handed.final,
                uncertain=handed.uncertain,
            )
        )
        _log.info(
            "message",
            message_id=message.id,
            channel=message.channel,
            purpose=message.purpose,
            attempt=message.attempts + 1,
            state=state,
            error=handed.error,
            seconds=round(time.monotonic() - began, 3),
        )

    def _hand_over(self, message: Message) -> bool:
        return messages.hand_over(self._engine, message, self._clock())

    async def _by_webhook(self, message: Message) -> mail.Handed:
        claim = Claim(
            delivery_id=message.id,
            endpoint_id=message.id,
            event_id=message.id,
            lease=message.lease or "",
            attempts=message.attempts,
            url=message.address,
            secrets=(message.secret or "",),
            body=message.body.encode(),
        )
        outcome = await self._sender.attempt(claim)
        error = outcome.error and f"{outcome.error} {outcome.status or ''}".strip()
        return mail.Handed(error, final=outcome.gone)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@contextlib.asynccontextmanager
async def posting(post: Post) -> AsyncIterator[None]:
    """Keep ``post`` at work while the app serves; then let it finish what is under way."""
    stop = asyncio.Event()
    task = asyncio.create_task(post.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
        post.close()
