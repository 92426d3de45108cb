"""Accounts of people whom an OpenID Connect service signs in.

A person is known by issuer and subject (OpenID Connect Core 1.0, section 2): names and addresses of mail are given
to other people again, a subject never is. So an account is opened at the first sign-in, under a name that nobody
has, and an account that is there already is linked by an administrator and by nobody else. The service says at
each sign-in what a person may do; that an account is closed stands above what it says. A locked account is not
locked here: the lock is for who guesses passwords.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.store import audit, people, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import writing
from voiceguard.store.people import PeopleError, Role, Session, User

SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
"""OpenID Connect Core 1.0, section 2: at most 255 characters of ASCII."""

_users, _identities = schema.users.c, schema.identities.c


@dataclass(frozen=True)
class Identity:
    """Whom a service vouches for."""

    issuer: str
    subject: str
    """Never given to another person; `SUBJECT` has its form."""


class Refusal(enum.Enum):
    """Why nobody was signed in."""

    CLOSED = enum.auto()
    NO_ROLE = enum.auto()
    NAME_TAKEN = enum.auto()
    """The first sign-in would open an account of a name that somebody has."""


def sign_in(
    engine: sa.Engine, identity: Identity, name: str, role: Role | None, now: dt.datetime
) -> tuple[Session, str] | Refusal:
    """Open a session for who was just signed in at the service; return it with its token.

    Parameters
    ----------
    engine
        The database.
    identity
        Whom the service vouches for.
    name
        The account's name, if one has to be opened; `people.NAME` has its form.
    role
        What the service says that the person may do; None ends the person's sessions too.
    now
        The present.
    """
    try:
        return _sign_in(engine, identity, name, role, now)
    except sa.exc.IntegrityError:
        # Two first sign-ins at once, of one person or of one name: now there is an account.
        return _sign_in(engine, identity, name, role, now)


def _sign_in(
    engine: sa.Engine, identity: Identity, name: str, role: Role | None, now: dt.datetime
) -> tuple[Session, str] | Refusal:
    said = _said(identity)
    with writing(engine) as connection:
        query = sa.select(schema.users).join(schema.identities).where(_is(identity))
        row = connection.execute(query.with_for_update(of=schema.users)).one_or_none()
        if row is not None and row.disabled_at is not None:
            return Refusal.CLOSED
        if role is None:
            if row is not None:
                people.end_sessions(connection, row.id)
            return Refusal.NO_ROLE
        acts = []
        if row is not None:
            user_id = row.id
            if row.role != role:
                changed = {"role": role.value, "before": row.role, **said}
                acts.append(Act("voiceguard", Action.USER_ROLE_CHANGED, user_id, changed))
        else:
            # Another first sign-in of this person may have been committed since: the insert finds out.
            theirs = sa.exists().where(_is(identity), _identities.user_id == _users.id)
            if connection.scalar(sa.select(sa.exists().where(_users.name == name, ~theirs))):
                return Refusal.NAME_TAKEN
            user_id = schema.new_id("user")
            account = {
                "id": user_id,
                "name": name,
                "role": role.value,
                "password_hash": "",
                "one_time": False,
            }
            connection.execute(sa.insert(schema.users).values(**account))
            _link(connection, identity, user_id)
            created = {"name": name, "role": role.value, **said}
            acts.append(Act("voiceguard", Action.USER_CREATED, user_id, created))
        values = {"role": role.value, "signed_in_at": now}
        connection.execute(sa.update(schema.users).where(_users.id == user_id).values(**values))
        acts.append(Act(user_id, Action.USER_SIGNED_IN, user_id, said))
        return people.open_session(connection, user_id, now, *acts)


def link(engine: sa.Engine, name: str, identity: Identity, *, keep_password: bool = False) -> User:
    """Give an account to whom a service signs in as ``identity``, and to nobody before; end its sessions.

    Parameters
    ----------
    engine
        The database.
    name
        The account's name.
    identity
        Whom the service vouches for.
    keep_password
        Whether the account's password, if it has one, goes on opening it. By default it does not: who leaves
        the service's groups would keep it.

    Raises
    ------
    PeopleError
        There is no such open account, the identity has another one, or it can't be one.
    """
    if not SUBJECT.fullmatch(identity.subject) or not 0 < len(identity.issuer) <= 255:
        raise PeopleError("Expected an issuer and a subject of 1 to 255 characters.")
    with writing(engine) as connection:
        user_id = _open_account(connection, name)
        taken = sa.select(_users.name).join_from(schema.users, schema.identities)
        other = connection.scalar(taken.where(_is(identity), _users.id != user_id))
        if other is not None:
            raise PeopleError(
                f"Expected a subject that has no account yet, but {other} is linked to it: "
                f"voiceguard user unlink {other}."
            )
        connection.execute(sa.delete(schema.identities).where(_identities.user_id == user_id))
        _link(connection, identity, user_id)
        if not keep_password:
            without = {"password_hash": "", "one_time": False, "totp_secret": None}
            connection.execute(sa.update(schema.users).where(_users.id == user_id).values(**without))
        people.end_sessions(connection, user_id)
        said = {**_said(identity), "keeps_password": keep_password}
        user = people.user_of(connection, user_id)
        audit.append(connection, Act(audit.operator(), Action.USER_LINKED, user_id, said))
        return user


def unlink(engine: sa.Engine, name: str) -> User:
    """Take an account from whom a service signs in; end its sessions.

    Raises
    ------
    PeopleError
        There is no account of that name that is linked.
    """
    with writing(engine) as connection:
        query = sa.select(_users.id, _identities.issuer, _identities.subject)
        row = connection.execute(
            query.join_from(schema.users, schema.identities).where(_users.name == name)
        ).one_or_none()
        if row is None:
            raise PeopleError(f"Expected the name of an account that is linked, got {name}.")
        connection.execute(sa.delete(schema.identities).where(_identities.user_id == row.id))
        people.end_sessions(connection, row.id)
        user = people.user_of(connection, row.id)
        said = _said(Identity(row.issuer, row.subject))
        audit.append(connection, Act(audit.operator(), Action.USER_UNLINKED, row.id, said))
        return user


def _open_account(connection: sa.Connection, name: str) -> str:
    query = sa.select(_users.id).where(_users.name == name, _users.disabled_at.is_(None))
    user_id = connection.scalar(query.with_for_update())
    if user_id is None:
        raise PeopleError(f"Expected the name of an open account, got {name}.")
    return str(user_id)


def _link(connection: sa.Connection, identity: Identity, user_id: str) -> None:
    connection.execute(
        sa.insert(schema.identities).values(issuer=identity.issuer, subject=identity.subject, user_id=user_id)
    )


def _is(identity: Identity) -> sa.ColumnElement[bool]:
    return sa.and_(_identities.issuer == identity.issuer, _identities.subject == identity.subject)


def _said(identity: Identity) -> dict[str, str]:
    """Return what the audit log says of an identity; a subject may be an address of mail, so its hash."""
    return {"issuer": identity.issuer, "subject_sha256": audit.digest(identity.subject)}
