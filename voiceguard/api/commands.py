"""The commands that run the API and hand out its keys; the command line mounts them."""

from __future__ import annotations

import datetime as dt
import signal
from typing import Annotated

import sqlalchemy as sa
import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from voiceguard.api.app import create_app
from voiceguard.api.observe import configure_logs
from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope
from voiceguard.telephony.streams.events import MAX_MESSAGE_BYTES

key_app = typer.Typer(help="API keys of carriers.", no_args_is_help=True)
db_app = typer.Typer(help="The database.", no_args_is_help=True)

_WRONG_USE = 2


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (env: VOICEGUARD_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (env: VOICEGUARD_PORT).")] = None,
) -> None:
    """Serve the API until SIGTERM, then finish what is in flight."""
    settings = _settings()
    run(settings, host or settings.host, settings.port if port is None else port)


def run(settings: Settings, host: str, port: int) -> None:
    """Serve with these settings; `voiceguard demo` does it too."""
    configure_logs(settings.log_level)
    if settings.public_url == f"http://{settings.host}:{settings.port}":  # nobody set another one
        settings = settings.model_copy(update={"public_url": f"http://{host}:{port}"})
    try:
        app = create_app(settings)
    except VoiceGuardError as error:
        raise _failed(error) from error
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # audio does not compress, and each context takes 300 kB
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.drain_timeout_s,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn drains, then raises the signal again: a drained server has done its work and exits with 0.
        signal.signal(number, lambda *_: None)
    server.run()
    if not server.started:
        raise typer.Exit(1)


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for, such as the recorder that uses it.")],
    carrier: Annotated[str | None, typer.Option(help="Whose calls it opens; by default NAME.")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be repeated; by default calls:write and calls:read.")
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, help="Days it opens; by default for ever.")
    ] = None,
) -> None:
    """Create a key and print it, this once."""
    now = dt.datetime.now(dt.UTC)
    engine = _database()
    try:
        key, secret = keys.create(
            engine,
            name,
            carrier=carrier or name,
            scopes=frozenset(scope or (Scope.CALLS_WRITE, Scope.CALLS_READ)),
            expires_at=now + dt.timedelta(days=expires_days) if expires_days else None,
        )
    except VoiceGuardError as error:
        raise _failed(error) from error
    Console(stderr=True).print(
        f"Key {key.prefix} of {key.carrier_name} ({', '.join(sorted(key.scopes))}). It is shown this once:"
    )
    typer.echo(secret)


@key_app.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    try:
        found = keys.all_keys(_database())
    except VoiceGuardError as error:
        raise _failed(error) from error
    now = dt.datetime.now(dt.UTC)
    table = Table("prefix", "carrier", "name", "scopes", "created", "last used", "state")
    for key in found:
        state = "revoked" if key.revoked_at else "usable" if key.usable(now) else "expired"
        table.add_row(
            key.prefix,
            key.carrier_name,
            key.name,
            " ".join(sorted(key.scopes)),
            _day(key.created_at),
            _day(key.last_used_at),
            state,
        )
    Console().print(table)


@key_app.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's prefix (vg_…) or id.")]) -> None:
    """Revoke a key at once."""
    try:
        revoked = keys.revoke(_database(), key, dt.datetime.now(dt.UTC))
    except VoiceGuardError as error:
        raise _failed(error) from error
    if not revoked:
        Console(stderr=True).print(
            f"Expected a usable key's prefix or id, got {key}: see voiceguard key list."
        )
        raise typer.Exit(_WRONG_USE)
    for one in revoked:
        typer.echo(f"revoked {one.prefix} of {one.carrier_name}")


@db_app.callback()
def _db() -> None:
    """Prepare the database."""  # a callback keeps typer from dropping the name of an only command


@db_app.command("upgrade")
def upgrade_database(
    revision: Annotated[str, typer.Argument(help="Version to migrate to.")] = "head",
) -> None:
    """Migrate the database forwards."""
    try:
        migrate.upgrade(connect(_settings().database_url), revision)
    except VoiceGuardError as error:
        raise _failed(error) from error
    typer.echo("The database is up to date.")


def _settings() -> Settings:
    try:
        return Settings()
    except ValueError as error:
        Console(stderr=True).print(str(error))
        raise typer.Exit(_WRONG_USE) from error


def _database() -> sa.Engine:
    """Open the database; a SQLite one is migrated on the way, so that a first key needs no set-up."""
    engine = connect(_settings().database_url)
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    return engine


def _failed(error: VoiceGuardError) -> typer.Exit:
    Console(stderr=True).print(f"{error} {error.remedy}")
    return typer.Exit(1)


def _day(moment: dt.datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "never"
