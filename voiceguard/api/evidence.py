"""Evidence: a sealed package of one call."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from voiceguard.api import docs
from voiceguard.api.auth import CallsReader
from voiceguard.api.calls import find
from voiceguard.api.problems import Problem, retry_after
from voiceguard.api.service import Service, ServiceDep

router = APIRouter(prefix="/v1", tags=["calls"])

AT_ONCE = 2
"""Packages made at once by one process."""
TIMEOUT_S = 300.0
_READ_BYTES = 1024 * 1024
_log = structlog.get_logger()


@router.get(
    "/calls/{call_id}/evidence",
    response_class=Response,
    summary="Make an evidence package",
    responses={
        200: {
            "description": "A sealed zip file that a stranger can verify offline; the same bytes each time.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **docs.errors(401, 403, 404, 409, 410, 429, 500, 503, 507),
    },
)
async def get_evidence(
    request: Request, service: ServiceDep, key: CallsReader, call_id: docs.CallId
) -> Response:
    """Make a sealed package of a call: recording, result, report, model and proof; it takes some seconds."""
    await find(service, key, call_id)
    return await send_package(request, service, call_id, actor=key.id, carrier_id=key.carrier_id)


async def send_package(
    request: Request, service: Service, subject_id: str, *, actor: str, carrier_id: str | None = None
) -> Response:
    """Make a package of a call or a campaign and send it; a `Problem` says why there is none."""
    limit: asyncio.Semaphore = request.app.state.packing
    if limit.locked():
        raise Problem("overloaded", "Other packages are being made.", headers=retry_after(10))
    async with limit:
        with tempfile.TemporaryDirectory(prefix="voiceguard-") as folder:
            path = Path(folder) / "package.zip"
            made = await _make(
                {
                    "settings": service.settings.model_dump(mode="json"),
                    "subject_id": subject_id,
                    "output": str(path),
                    "actor": actor,
                    "carrier_id": carrier_id,
                }
            )
            # Open, then gone from the folder: nothing is left behind, however the answer ends.
            file = path.open("rb")
    headers = {
        "Content-Length": str(made["size_bytes"]),
        "Content-Disposition": f'attachment; filename="{subject_id}.zip"',
        "ETag": f'"{made["sha256"]}"',
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(made['sha256'])).decode()}:",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/zip")


async def _make(asked: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voiceguard.evidence.making",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(json.dumps(asked).encode()), TIMEOUT_S)
    except TimeoutError:
        raise Problem("overloaded", "The package took too long to make.", headers=retry_after(60)) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        _log.error(
            "package not made", status=process.returncode, error=errors.decode(errors="replace")[-2000:]
        )
        raise Problem("internal_error")
    if errors:
        _log.warning("package made with warnings", warnings=errors.decode(errors="replace")[-2000:])
    answer = json.loads(out)
    if answer["error"] is not None:
        raise Problem(answer["error"], answer["message"])
    made: dict[str, Any] = answer["made"]
    return made


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_READ_BYTES):
            yield piece
