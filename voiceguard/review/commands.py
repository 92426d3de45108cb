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
from voiceguard.store import identities, migrate, people
from voiceguard.store.engine import connect
from voiceguard.store.identities import Identity
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
    table = Table("name", "role", "state", "signs in by", "created", "last signed in")
    for user in found:
        locked = user.locked_until is not None and now < user.locked_until
        state = "closed" if user.disabled_at else "locked" if locked else "open"
        ways = ["password"] * user.has_password + ["OIDC"] * (user.issuer is not None)
        table.add_row(
            user.name,
            user.role.value,
            state,
            " or ".join(ways) or "nothing",
            _day(user.created_at),
            _day(user.signed_in_at),
        )
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


@user_app.command("link")
def link_user(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    subject: Annotated[
        str, typer.Argument(help="The person's subject (sub), as the page that refuses the sign-in shows it.")
    ],
    issuer: Annotated[
        str | None, typer.Option(help="Whose subject it is (env: VOICEGUARD_OIDC_ISSUER).")
    ] = None,
    keep_password: Annotated[
        bool, typer.Option("--keep-password", help="Let the account's password go on opening it.")
    ] = False,
) -> None:
    """Let a person whom an OpenID Connect service signs in have an account that is there already."""
    issuer = issuer or _settings().oidc_issuer
    if issuer is None:
        Console(stderr=True).print("Expected --issuer, or VOICEGUARD_OIDC_ISSUER to be set.")
        raise typer.Exit(_WRONG_USE)
    try:
        identities.link(_database(), name, Identity(issuer, subject), keep_password=keep_password)
    except people.PeopleError as error:
        raise _failed(error, _WRONG_USE) from error
    except VoiceGuardError as error:
        raise _failed(error) from error
    password = "still opens it" if keep_password else "opens it no more"
    typer.echo(f"linked {name} to {subject} of {issuer}; a password {password}")


@user_app.command("unlink")
def unlink_user(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Take an account from whom an OpenID Connect service signs in, who is signed out."""
    try:
        left = identities.unlink(_database(), name)
    except people.PeopleError as error:
        raise _failed(error, _WRONG_USE) from error
    except VoiceGuardError as error:
        raise _failed(error) from error
    typer.echo(f"unlinked {name}; {'its password' if left.has_password else 'nothing'} opens it now")


def _settings() -> Settings:
    try:
        return Settings()
    except ValueError as error:
        Console(stderr=True).print(str(error))
        raise typer.Exit(_WRONG_USE) from error


def _database() -> sa.Engine:
    """Open the database; a SQLite one is migrated on the way, so that a first account needs no set-up."""
    engine = connect(_settings().database_url)
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    return engine


def _failed(error: VoiceGuardError, code: int = 1) -> typer.Exit:
    Console(stderr=True).print(f"{error} {error.remedy}")
    return typer.Exit(code)


def _day(moment: dt.datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "never"
