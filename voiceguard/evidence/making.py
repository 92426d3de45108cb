"""Making a package into a file: for the command, and as a process of its own for the API.

Decoders read what strangers sent, and drawing takes seconds of a core: the server does neither itself. It runs
``python -m voiceguard.evidence.making``, which reads a `Request` as JSON from standard input and answers on
standard output with an `Answer`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from voiceguard.errors import VoiceGuardError
from voiceguard.evidence import dossier, package
from voiceguard.evidence.package import Made
from voiceguard.settings import Settings
from voiceguard.store import signing, timestamps
from voiceguard.store.engine import connect, reading
from voiceguard.store.recordings import Recordings


@dataclass(frozen=True)
class Request:
    """What the process is to make."""

    settings: dict[str, Any]
    """`Settings` as JSON."""
    subject_id: str
    output: str
    """Where the package goes."""
    actor: str
    carrier_id: str | None
    """None: of every carrier's calls."""


@dataclass(frozen=True)
class Answer:
    """What came of it: a package, or an error's code and message."""

    made: Made | None = None
    error: str | None = None
    message: str | None = None


def make_package(
    engine: sa.Engine,
    settings: Settings,
    subject_id: str,
    output: Path,
    *,
    actor: str,
    carrier_id: str | None = None,
    warn: Callable[[str], None],
) -> Made | None:
    """Make a package, note it in the audit log, then put it at ``output``; None if there is no such subject.

    Raises
    ------
    VoiceGuardError
        It can't be made.
    OSError
        It can't be written.
    """
    recordings = Recordings(settings.recordings_url, settings.data_dir)
    key = signing.open_key(settings)
    with reading(engine) as connection:
        about = dossier.subject(connection, subject_id, carrier_id=carrier_id)
    if about is None:
        return None
    found = dossier.collect(engine, recordings, about, key, stamp=timestamps.stamp(settings, warn))
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            made = package.make(found, recordings, key, file)
            file.flush()
            os.fsync(file.fileno())
        # In the log before it is in anyone's hands.
        dossier.note_made(engine, about, actor=actor, sha256=made.sha256, size_bytes=made.size_bytes)
        part.replace(output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return made


def answer(request: Request) -> Answer:
    """Make what is asked for; errors become part of the answer."""
    settings = Settings.model_validate(request.settings)
    engine = connect(settings.database_url)
    try:
        made = make_package(
            engine,
            settings,
            request.subject_id,
            Path(request.output),
            actor=request.actor,
            carrier_id=request.carrier_id,
            warn=lambda message: print(message, file=sys.stderr),
        )
    except VoiceGuardError as error:
        return Answer(error=error.code, message=str(error))
    finally:
        engine.dispose()
    return Answer(made) if made is not None else Answer(error="not_found")


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(answer(Request(**json.load(sys.stdin))))))
