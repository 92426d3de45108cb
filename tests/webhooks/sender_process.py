"""A process that sends what is due until SIGTERM: ``python -m tests.webhooks.sender_process URL AHEAD_S``."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sys

import structlog

from voiceguard.api.delivery import Sender, sending
from voiceguard.store.engine import connect


async def _serve(url: str, ahead: dt.timedelta) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    engine = connect(url)
    sender = Sender(engine, allow_private=True, clock=lambda: dt.datetime.now(dt.UTC) + ahead)
    async with sending(sender, drain_timeout_s=10):
        await stop.wait()
    engine.dispose()


structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(_serve(sys.argv[1], dt.timedelta(seconds=float(sys.argv[2]))))
