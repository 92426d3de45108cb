"""What the running API holds: settings, database, recordings, screening processes, counters."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, TypeVar

import sqlalchemy as sa
import structlog
from cryptography import x509
from fastapi import Depends, Request

from voiceguard.api import custody
from voiceguard.api.admission import Admission
from voiceguard.api.delivery import Sender, sending
from voiceguard.api.observe import Metrics
from voiceguard.api.pool import ScreeningPool
from voiceguard.api.post import Post, posting
from voiceguard.api.streams.hub import Hub
from voiceguard.audio import Limits
from voiceguard.errors import StoreError
from voiceguard.settings import Settings, read_certificates
from voiceguard.store import cases, deliveries, idempotency, migrate, retention
from voiceguard.store.engine import connect, writing
from voiceguard.store.limits import Counters
from voiceguard.store.recordings import Recordings

DATABASE_THREADS = 20
"""Threads, and connections, that talk to the database at once."""
_ORPHANS_EVERY_S = 24 * 3600.0

Clock = Callable[[], dt.datetime]
_T = TypeVar("_T")
_log = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """The parts of one running API."""

    settings: Settings
    engine: sa.Engine
    recordings: Recordings
    pool: ScreeningPool
    admission: Admission
    in_flight: idempotency.InFlight
    counters: Counters
    streams: Hub
    trust_anchors: tuple[x509.Certificate, ...]
    metrics: Metrics
    threads: ThreadPoolExecutor
    clock: Clock
    """The present, UTC, for cases and notices: their clocks are tested without waiting."""

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Run ``work``, which waits for database or disk, beside the event loop; ends when it has ended."""
        # A third of what anyio's threads cost, and a post makes ten such calls.
        run = contextvars.copy_context().run
        future = asyncio.get_running_loop().run_in_executor(self.threads, run, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # Its files and transactions are the caller's: they must not vanish under it.
            await asyncio.wait([future])
            raise


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def now() -> dt.datetime:
    """Return the present, UTC."""
    return dt.datetime.now(dt.UTC)


@contextlib.asynccontextmanager
async def running(settings: Settings, metrics: Metrics, clock: Clock) -> AsyncIterator[Service]:
    """Start everything, give it out, end it in order.

    A SQLite database is migrated on the way; a PostgreSQL one must have been, since other processes use it.
    """
    engine = connect(settings.database_url, pool_size=DATABASE_THREADS + 8)  # and the senders' own
    if engine.dialect.name == "sqlite":
        await asyncio.to_thread(migrate.upgrade, engine)
    else:
        await asyncio.to_thread(migrate.check, engine)
    recordings = Recordings(settings.recordings_url, settings.data_dir)
    swept = recordings.sweep()
    limits = Limits(max_bytes=settings.max_upload_bytes, max_duration_s=settings.max_duration_s)
    pool = ScreeningPool(settings.screening_workers, settings.model, limits, settings.screening_timeout_s)
    await pool.start()
    metrics.model.info({"id": pool.model})
    service = Service(
        settings=settings,
        engine=engine,
        recordings=recordings,
        pool=pool,
        admission=Admission(
            settings.max_in_flight, settings.max_in_flight_per_carrier, settings.screening_workers
        ),
        in_flight=idempotency.InFlight(engine),
        counters=Counters(engine),
        streams=Hub(settings.stream_max, settings.stream_max_per_key, metrics),
        trust_anchors=tuple(read_certificates(settings.stir_trust_anchors))
        if settings.stir_trust_anchors
        else (),
        metrics=metrics,
        threads=ThreadPoolExecutor(DATABASE_THREADS, "voiceguard"),
        clock=clock,
    )
    sender = Sender(engine, allow_private=settings.webhook_allow_private)
    _log.info("started", model=pool.model, workers=settings.screening_workers, uploads_swept=swept)
    upkeep = asyncio.create_task(_maintain(service))
    try:
        async with (
            custody.sealing(settings, engine, recordings),
            sending(sender, settings.drain_timeout_s),
            posting(Post(engine, settings, sender, clock)),
        ):
            yield service
    finally:
        upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upkeep
        await pool.close()
        await asyncio.to_thread(service.threads.shutdown)
        service.in_flight.close()
        service.counters.close()
        engine.dispose()
        _log.info("stopped")


async def _maintain(service: Service) -> None:
    """Keep retention and tidy up, for ever; what fails is tried again in the next round."""
    next_orphans = 0.0
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(service.settings.maintenance_interval_s)
        with_orphans = loop.time() >= next_orphans
        try:
            await service.in_thread(lambda: _maintain_once(service, with_orphans=with_orphans))  # noqa: B023
        except StoreError as error:
            _log.warning("maintenance put off", error=str(error))
        except Exception:
            _log.exception("maintenance failed")
        else:
            if with_orphans:
                next_orphans = loop.time() + _ORPHANS_EVERY_S


def _maintain_once(service: Service, *, with_orphans: bool) -> None:
    now = dt.datetime.now(dt.UTC)
    with writing(service.engine) as connection:
        cases.hold_all(connection)  # before retention looks
    expired = retention.expire(service.engine, service.recordings, service.settings.retention_days, now)
    forgotten = idempotency.forget(
        service.engine, now - dt.timedelta(hours=service.settings.idempotency_hours)
    )
    orphans = retention.remove_orphans(service.engine, service.recordings, now) if with_orphans else 0
    events = deliveries.tidy(service.engine, now)
    service.recordings.sweep()
    _log.info(
        "maintained", expired=expired, answers_forgotten=forgotten, orphans=orphans, events_forgotten=events
    )
