"""The app: `create_app` puts the parts together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

import voiceguard
from voiceguard.api import (
    calls,
    campaigns,
    cases,
    evidence,
    figures,
    health,
    notices,
    problems,
    reports,
    webhooks,
)
from voiceguard.api.observe import Metrics, Observe
from voiceguard.api.service import Clock, now, running
from voiceguard.api.streams import audiosocket, endpoints
from voiceguard.review.openid import open_service
from voiceguard.review.routes import router as review
from voiceguard.settings import Settings

_DESCRIPTION = """\
Screens recordings of phone calls for AI-generated voices.

A verdict says what the audio supports, never that a call was illegal. Every error is an RFC 9457 problem;
[/problems](/problems) explains each kind.
"""


def create_app(settings: Settings | None = None, *, clock: Clock | None = None) -> FastAPI:
    """Return the app; database, recordings and screening processes start with its lifespan.

    ``clock`` is the present, UTC, for cases and notices; by default the machine's.
    """
    chosen = settings or Settings()
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(chosen, metrics, clock or now) as service, audiosocket.listening(service):
            app.state.service = service
            yield

    app = FastAPI(
        title="VoiceGuard",
        version=voiceguard.__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a redirect loses the body that was just uploaded
    )
    app.include_router(calls.router)
    app.include_router(evidence.router)
    app.state.packing = asyncio.Semaphore(evidence.AT_ONCE)
    app.include_router(campaigns.router)
    app.include_router(figures.router)
    app.include_router(cases.router)
    app.include_router(notices.router)
    app.include_router(reports.router)
    app.include_router(webhooks.router)
    app.include_router(endpoints.router)
    app.include_router(audiosocket.router)
    app.include_router(health.router)
    app.include_router(review)
    app.state.openid = open_service(chosen)
    problems.install(app)
    app.add_middleware(Observe, metrics=metrics)
    return app
