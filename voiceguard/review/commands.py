"""The command ``user``: accounts of people who review."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store import migrate, people
from voiceguard.store.engine import connect
from voiceguard.store.people import Role

user_app = typer.Typer(help="Accounts of people who review calls.", no_args_is_help=True)

_WRONG_USE = 2


@user_app.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="What the person signs in with.")],
    role: Annotated[Role, typer.Option(help="What the person may do.")] = Role.ANALYST,
) -> None:
    """Open an account and print its one-time password and the secret of its codes, this once."""
    try:
        made = people.create(_database(), name, role)
    except people.PeopleError as error:
        raise _failed(error, _WRONG_USE) from error
    except VoiceGuardError as error:
        raise _failed(error) from error
    Console(stderr=True).print(
        f"Account {name} ({role.value}). This is shown this once; the password must be changed at the first "
        "sign-in, at /review/sign-in. Add the secret to an authenticator app: it makes the codes."
    )
    typer.echo(f"one-time password  {made.password}")
    typer.echo(f"secret of codes    {made.totp_secret}")
    typer.echo(f"the same, as URI   {made.totp_uri}")


@user_app.command("list")
def list_users() -> None:
    """List the accounts."""
    try:
        found = people.everyone(_database())
    except VoiceGuardError as error:
        raise _failed(error) from error
    now = dt.datetime.now(dt.UTC)
    table = Table("name", "role", "state", "created", "last signed in")
    for user in found:
        locked = user.locked_until is not None and now < user.locked_until
        state = "closed" if user.disabled_at else "locked" if locked else "open"
        table.add_row(user.name, user.role.value, state, _day(user.created_at), _day(user.signed_in_at))
    Console().print(table)


@user_app.command("disable")
def disable_user(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Close an account at once; whoever is signed in by it is signed out."""
    try:
        closed = people.disable(_database(), name, dt.datetime.now(dt.UTC))
    except VoiceGuardError as error:
        raise _failed(error) from error
    if not closed:
        Console(stderr=True).print(
            f"Expected the name of an open account, got {name}: see voiceguard user list."
        )
        raise typer.Exit(_WRONG_USE)
    typer.echo(f"closed {name}")


def _database() -> sa.Engine:
    """Open the database; a SQLite one is migrated on the way, so that a first account needs no set-up."""
    try:
        settings = Settings()
    except ValueError as error:
        Console(stderr=True).print(str(error))
        raise typer.Exit(_WRONG_USE) from error
    engine = connect(settings.database_url)
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    return engine


def _failed(error: VoiceGuardError, code: int = 1) -> typer.Exit:
    Console(stderr=True).print(f"{error} {error.remedy}")
    return typer.Exit(code)


def _day(moment: dt.datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "never"
