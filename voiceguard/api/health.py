"""Is it alive, is it ready, what does it count; and what each problem means."""

from __future__ import annotations

import html
from collections.abc import Callable

import anyio
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from voiceguard.api import docs, problems
from voiceguard.api.problems import Problem
from voiceguard.api.service import Service, ServiceDep
from voiceguard.errors import ModelError, StorageFull, VoiceGuardError
from voiceguard.store import deliveries, migrate
from voiceguard.store.engine import reading

router = APIRouter(tags=["operation"])

_CHECK_TIMEOUT_S = 5.0


class Health(BaseModel):
    """That the service works."""

    status: str = "ok"
    checks: dict[str, str] = {}


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answer, which is all that is asked."""
    return Health()


@router.get("/readyz", summary="Can it take calls?", responses=docs.errors(503))
async def readyz(service: ServiceDep) -> Health:
    """Check the database, the recordings store, the model and the disk."""
    checks = {
        name: await _run(service, check)
        for name, check in (
            ("database", lambda: migrate.check(service.engine)),
            ("recordings", service.recordings.check),
            ("model", lambda: _check_model(service)),
            ("disk", lambda: _check_disk(service)),
        )
    }
    if any(result != "ok" for result in checks.values()):
        raise Problem("not_ready", checks=checks)
    return Health(checks=checks)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(service: ServiceDep) -> Response:
    """Count everything in the format of Prometheus."""
    service.metrics.in_flight.set(service.admission.in_flight)
    service.metrics.workers.set(service.pool.alive)

    def _backlog() -> int:
        with reading(service.engine) as connection:
            return deliveries.backlog(connection)

    try:
        service.metrics.outbox.set(await service.in_thread(_backlog))
    except VoiceGuardError:
        service.metrics.outbox.set(float("nan"))
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems", summary="All kinds of problems", response_class=HTMLResponse)
async def problem_kinds() -> str:
    """List every kind of problem, for a person."""
    return _html("Problems", "".join(_section(kind) for kind in problems.kinds().values()))


@router.get(
    "/problems/{code}",
    summary="One kind of problem",
    response_class=HTMLResponse,
    responses=docs.errors(404),
)
async def problem_kind(code: str) -> str:
    """Explain the ``type`` of a problem, for a person."""
    kind = problems.kinds().get(code)
    if kind is None:
        raise Problem("not_found", "Expected the code of a problem; /problems lists them.")
    return _html(kind.code, _section(kind))


def _section(kind: problems.Kind) -> str:
    title, remedy = html.escape(kind.title), html.escape(kind.remedy)
    return f"<h2 id='{kind.code}'><code>{kind.code}</code> ({kind.status})</h2><p>{title}</p><p>{remedy}</p>"


def _html(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><body>{body}</body></html>"
    )


async def _run(service: Service, check: Callable[[], None]) -> str:
    """Run a check, which may hang with what it checks; return ``ok`` or the fault."""
    try:
        with anyio.fail_after(_CHECK_TIMEOUT_S):
            await anyio.to_thread.run_sync(check, abandon_on_cancel=True)
    except TimeoutError:
        return f"no answer in {_CHECK_TIMEOUT_S:g} s"
    except VoiceGuardError as error:
        return str(error)
    return "ok"


def _check_model(service: Service) -> None:
    if not service.pool.alive:
        raise ModelError("Expected at least one screening process, but none is alive.")


def _check_disk(service: Service) -> None:
    if service.recordings.free_bytes() < service.settings.min_free_bytes:
        raise StorageFull("Less disk space is free than VOICEGUARD_MIN_FREE_BYTES asks for.")
