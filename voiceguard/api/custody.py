"""What keeps a running API accountable: how it is set up is noted, the audit log is sealed as it grows."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import platform
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

import voiceguard
from voiceguard.detector import default_model_dir, read_record
from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store import audit, checkpoints, models, signing, timestamps
from voiceguard.store.checkpoints import Stamp
from voiceguard.store.engine import writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey

_OF_THE_MACHINE = {
    "data_dir",
    "database_url",
    "recordings_url",
    "model",
    "host",
    "port",
    "signing_key",
    "timestamp_url",
    "timestamp_roots",
    "public_url",
    "mail_from",
    "smtp_host",
    "smtp_port",
    "smtp_security",
    "smtp_user",
    "smtp_password",
    "oidc_client_id",
    "oidc_client_secret",
    "oidc_client_secret_file",
}
"""Settings that say where things are; a path or an address may hold a name or a password."""
_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "onnxruntime",
    "soundfile",
    "av",
    "soxr",
    "webrtcvad-wheels",
    "cryptography",
)
"""What a score depends on, and what signs."""

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def sealing(settings: Settings, engine: sa.Engine, recordings: Recordings) -> AsyncIterator[None]:
    """Note how the service runs and keep its model; then sign a checkpoint at each interval and at the end.

    Raises
    ------
    SigningKeyError, TimestampError, ModelError
        The service can't sign, or its settings name roots or a model that can't be read.
    """
    key = await asyncio.to_thread(signing.open_key, settings)
    ask = await asyncio.to_thread(timestamps.stamp, settings, _without_timestamp)
    await asyncio.to_thread(_begin, settings, engine, recordings, key)
    sealing = asyncio.create_task(_keep_sealing(settings, engine, key, ask))
    try:
        yield
    finally:
        sealing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sealing
        await asyncio.to_thread(_seal, engine, key, ask)


def configuration(settings: Settings, key: SigningKey) -> dict[str, Any]:
    """Return what decides over verdicts and custody: versions, model, thresholds, settings; no secrets."""
    folder = default_model_dir(settings.model)
    record = read_record(folder)
    return {
        "voiceguard": voiceguard.__version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "model": record.id,
        "model_files": models.files_sha256(folder),
        "flag_threshold": record.calibration.flag_threshold,
        "review_threshold": record.calibration.review_threshold,
        "clear_threshold": record.calibration.clear_threshold,
        "signing_key": key.public.fingerprint,
        "timestamp_authority": urlsplit(settings.timestamp_url).hostname if settings.timestamp_url else None,
        "settings": settings.model_dump(mode="json", exclude=_OF_THE_MACHINE),
    }


def _begin(settings: Settings, engine: sa.Engine, recordings: Recordings, key: SigningKey) -> None:
    models.keep(recordings, default_model_dir(settings.model))
    with writing(engine) as connection:
        audit.note_configuration(connection, configuration(settings, key))


async def _keep_sealing(settings: Settings, engine: sa.Engine, key: SigningKey, ask: Stamp | None) -> None:
    while True:
        await asyncio.sleep(settings.checkpoint_interval_s)
        await asyncio.to_thread(_seal, engine, key, ask)


def _seal(engine: sa.Engine, key: SigningKey, ask: Stamp | None) -> None:
    try:
        for made in checkpoints.seal(engine, key, stamp=ask):
            # Whoever keeps the service's log keeps what a rewritten database can be held against.
            _log.info("audit checkpoint", number=made.number, statement=made.statement)
    except VoiceGuardError as error:
        _log.warning("checkpoint put off", error=str(error))
    except Exception:
        _log.exception("checkpoint failed")


def _without_timestamp(error: str) -> None:
    _log.warning("checkpoint without timestamp", error=error)
