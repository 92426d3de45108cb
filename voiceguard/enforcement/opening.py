"""What the commands of enforcement share: the database of the settings, and how they fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import sqlalchemy as sa
import typer

from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store import migrate
from voiceguard.store.engine import connect

FAILED, WRONG_USE = 1, 2


@contextlib.contextmanager
def opened() -> Iterator[tuple[sa.Engine, Settings]]:
    """Open the database of the settings; an error of VoiceGuard's ends the command with its remedy."""
    try:
        settings = Settings()
    except ValueError as error:
        fail(str(error), WRONG_USE)
    engine = None
    try:
        engine = connect(settings.database_url)
        if engine.dialect.name == "sqlite":
            migrate.upgrade(engine)
        yield engine, settings
    except VoiceGuardError as error:
        fail(f"{error} {error.remedy}")
    finally:
        if engine is not None:
            engine.dispose()


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command with a message and an exit code."""
    typer.echo(f"voiceguard: {message}", err=True)
    raise typer.Exit(code)
