"""People who review: their accounts, how they sign in, and the sessions that they are signed in by.

A password is kept as Argon2id (RFC 9106). The second factor is a time-based code (RFC 6238, 30 s, six digits)
of which each is good once. Five failures in a row close an account for a quarter of an hour, and who tries
learns no more than that something was wrong. A session is 256 random bits in a cookie; the database keeps its
hash, so that a stolen backup opens nothing. Who is signed in by an OpenID Connect service (`identities`) gets the
same session.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import re
import secrets
from dataclasses import dataclass
from functools import cache

import argon2
import pyotp
import sqlalchemy as sa

from voiceguard.errors import VoiceGuardError
from voiceguard.store import audit, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing

MAX_FAILURES = 5
LOCKED_FOR = dt.timedelta(minutes=15)
MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 256
"""Argon2 reads all of it; a longer one only keeps a core busy."""
IDLE = dt.timedelta(hours=1)
"""A session that nobody used for so long is over."""
LIFETIME = dt.timedelta(hours=12)
_SEEN_EVERY = dt.timedelta(minutes=1)
_STEP_S = 30
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")

_users, _sessions = schema.users.c, schema.sessions.c
_FROM = schema.users.outerjoin(schema.identities)
_SELECT = sa.select(schema.users, schema.identities.c.issuer).select_from(_FROM)
_hasher = argon2.PasswordHasher()


class PeopleError(VoiceGuardError):
    """The account can't be made or changed in this way."""

    code = "people_error"
    remedy = "See voiceguard user list for the accounts that there are."


class Role(enum.StrEnum):
    """What a person may do; `voiceguard.review.access` says which role may do what."""

    ANALYST = "analyst"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Purpose(enum.StrEnum):
    """What a recording is listened to for; recorded with every look."""

    REVIEW = "review"
    TRACEBACK = "traceback"
    COURT = "court"
    QUALITY = "quality"
    AUDIT = "audit"
    TRAINING = "training"


@dataclass(frozen=True)
class User:
    """An account, without its secrets."""

    id: str
    name: str
    role: Role
    one_time: bool
    """The password must be changed before anything else."""
    has_password: bool
    has_totp: bool
    issuer: str | None
    """The OpenID Connect service that signs the person in, if one does."""
    created_at: dt.datetime
    signed_in_at: dt.datetime | None
    locked_until: dt.datetime | None
    disabled_at: dt.datetime | None


@dataclass(frozen=True)
class Session:
    """Who is signed in, and by what a form of theirs is known."""

    user: User
    sha256: str
    csrf: str
    purpose: Purpose


@dataclass(frozen=True)
class NewAccount:
    """What is shown once, when an account is made."""

    user: User
    password: str
    totp_secret: str | None
    totp_uri: str | None
    """For an authenticator app."""


def create(
    engine: sa.Engine,
    name: str,
    role: Role,
    *,
    password: str | None = None,
    totp: bool = True,
    actor: str | None = None,
) -> NewAccount:
    """Create an account.

    Parameters
    ----------
    engine
        The database.
    name
        What the person signs in with: small letters, digits and ``. _ @ -``.
    role
        What the person may do.
    password
        Without it a one-time password is drawn, which must be changed at the first sign-in.
    totp
        Whether signing in takes a code too; only the demonstration does without.
    actor
        Id of the user who does it; by default the operating system's user.

    Raises
    ------
    PeopleError
        The name is taken or malformed.
    """
    if not NAME.fullmatch(name):
        raise PeopleError(f"Expected a name of small letters, digits and . _ @ -, got {name!r}.")
    chosen = password or secrets.token_urlsafe(12)
    totp_secret = pyotp.random_base32() if totp else None
    user_id = schema.new_id("user")
    values = {
        "id": user_id,
        "name": name,
        "role": role.value,
        "password_hash": _hasher.hash(chosen),
        "one_time": password is None,
        "totp_secret": totp_secret,
    }
    with writing(engine) as connection:
        if connection.scalar(sa.select(sa.exists().where(_users.name == name))):
            raise PeopleError(f"Expected a new name, but there is an account {name}.")
        connection.execute(sa.insert(schema.users).values(**values))
        user = user_of(connection, user_id)
        said = {"name": name, "role": role.value, "second_factor": totp}
        audit.append(connection, Act(actor or audit.operator(), Action.USER_CREATED, user.id, said))
    uri = (
        pyotp.TOTP(totp_secret).provisioning_uri(name=name, issuer_name="VoiceGuard") if totp_secret else None
    )
    return NewAccount(user, chosen, totp_secret, uri)


def everyone(engine: sa.Engine) -> list[User]:
    """Return every account, by name."""
    with reading(engine) as connection:
        return [_user(row) for row in connection.execute(_SELECT.order_by(_users.name))]


def disable(engine: sa.Engine, name: str, now: dt.datetime, *, actor: str | None = None) -> bool:
    """Close an account at once, with all its sessions; False if none of that name is open."""
    with writing(engine) as connection:
        user_id = connection.scalar(
            sa.update(schema.users)
            .where(_users.name == name, _users.disabled_at.is_(None))
            .values(disabled_at=now)
            .returning(_users.id)
        )
        if user_id is None:
            return False
        end_sessions(connection, user_id)
        said = {"name": name}
        audit.append(connection, Act(actor or audit.operator(), Action.USER_DISABLED, user_id, said))
    return True


def set_password(engine: sa.Engine, name: str, password: str) -> None:
    """Give an account another password and end its sessions."""
    hashed = _hasher.hash(password)
    with writing(engine) as connection:
        user_id = connection.scalar(
            sa.update(schema.users)
            .where(_users.name == name)
            .values(password_hash=hashed, failures=0, locked_until=None)
            .returning(_users.id)
        )
        if user_id is None:
            raise PeopleError(f"Expected the name of an account, got {name}.")
        end_sessions(connection, user_id)
        audit.append(connection, Act(audit.operator(), Action.USER_PASSWORD_CHANGED, user_id, {}))


def sign_in(
    engine: sa.Engine, name: str, password: str, code: str, now: dt.datetime
) -> tuple[Session, str] | None:
    """Open a session; return it with its token, or None if anything at all was wrong."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(schema.users).where(_users.name == name)).one_or_none()
    # An unknown name costs as much time as a known one, and so does one without a password.
    known = row.password_hash if row else ""
    right = _right_password(known or _nobody(), password)
    if row is None or not known:
        return None
    step = _matching_step(row.totp_secret, code, now) if row.totp_secret else row.totp_step + 1
    with writing(engine) as connection:
        # Read again under the lock: two tries at once are two tries, and a code is good once.
        row = connection.execute(sa.select(schema.users).where(_users.id == row.id).with_for_update()).one()
        if row.disabled_at is not None or (row.locked_until is not None and now < row.locked_until):
            return None
        if row.password_hash != known:
            return None
        if not right or step is None or (row.totp_secret and step <= row.totp_step):
            _note_failure(connection, row, now)
            return None
        values = {"failures": 0, "locked_until": None, "signed_in_at": now}
        if row.totp_secret:
            values["totp_step"] = step
        connection.execute(sa.update(schema.users).where(_users.id == row.id).values(**values))
        return open_session(connection, row.id, now, Act(row.id, Action.USER_SIGNED_IN, row.id, {}))


def open_session(
    connection: sa.Connection, user_id: str, now: dt.datetime, *acts: Act
) -> tuple[Session, str]:
    """Open a session for who has shown who they are, write ``acts`` into the log; return it with its token."""
    user = user_of(connection, user_id)
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    purpose = Purpose.AUDIT if user.role is Role.AUDITOR else Purpose.REVIEW
    connection.execute(
        sa.insert(schema.sessions).values(
            sha256=_digest(token),
            user_id=user_id,
            csrf=csrf,
            purpose=purpose.value,
            created_at=now,
            seen_at=now,
        )
    )
    connection.execute(sa.delete(schema.sessions).where(_sessions.seen_at < now - LIFETIME))
    audit.append(connection, *acts)
    return Session(user, _digest(token), csrf, purpose), token


def end_sessions(connection: sa.Connection, user_id: str) -> None:
    """Sign a person out everywhere."""
    connection.execute(sa.delete(schema.sessions).where(_sessions.user_id == user_id))


def user_of(connection: sa.Connection, user_id: str) -> User:
    """Return the account of an id."""
    return _user(connection.execute(_SELECT.where(_users.id == user_id)).one())


def session(engine: sa.Engine, token: str, now: dt.datetime) -> Session | None:
    """Return the session that a cookie's token opens, and note that it was used."""
    sha256 = _digest(token)
    query = (
        _SELECT.add_columns(_sessions.csrf, _sessions.purpose, _sessions.seen_at)
        .join(schema.sessions, _sessions.user_id == _users.id)
        .where(
            _sessions.sha256 == sha256,
            _sessions.created_at > now - LIFETIME,
            _sessions.seen_at > now - IDLE,
            _users.disabled_at.is_(None),
        )
    )
    with reading(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if now - row.seen_at >= _SEEN_EVERY:
        with writing(engine) as connection:
            connection.execute(
                sa.update(schema.sessions).where(_sessions.sha256 == sha256).values(seen_at=now)
            )
    return Session(_user(row), sha256, row.csrf, Purpose(row.purpose))


def set_purpose(engine: sa.Engine, current: Session, purpose: Purpose) -> None:
    """Say what recordings are listened to for from now on in this session."""
    with writing(engine) as connection:
        connection.execute(
            sa.update(schema.sessions).where(_sessions.sha256 == current.sha256).values(purpose=purpose.value)
        )


def sign_out(engine: sa.Engine, current: Session) -> None:
    """End a session."""
    with writing(engine) as connection:
        connection.execute(sa.delete(schema.sessions).where(_sessions.sha256 == current.sha256))
        audit.append(connection, Act(current.user.id, Action.USER_SIGNED_OUT, current.user.id, {}))


def change_password(engine: sa.Engine, current: Session, old: str, new: str) -> None:
    """Change one's own password; other sessions of the person end.

    Raises
    ------
    PeopleError
        The old password is wrong, or the new one is too short, too long or the old one.
    """
    if not MIN_PASSWORD_CHARS <= len(new) <= MAX_PASSWORD_CHARS:
        raise PeopleError(
            f"Expected a new password of {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters, "
            f"got {len(new)}."
        )
    if new == old:
        raise PeopleError("Expected a new password, got the old one.")
    with reading(engine) as connection:
        known = connection.scalar(sa.select(_users.password_hash).where(_users.id == current.user.id))
    if not known or not _right_password(known, old):
        raise PeopleError("Expected the password that you signed in with, but this is another one.")
    hashed = _hasher.hash(new)
    with writing(engine) as connection:
        connection.execute(
            sa.update(schema.users)
            .where(_users.id == current.user.id)
            .values(password_hash=hashed, one_time=False)
        )
        connection.execute(
            sa.delete(schema.sessions).where(
                _sessions.user_id == current.user.id, _sessions.sha256 != current.sha256
            )
        )
        audit.append(connection, Act(current.user.id, Action.USER_PASSWORD_CHANGED, current.user.id, {}))


def _note_failure(connection: sa.Connection, row: sa.Row[tuple[object, ...]], now: dt.datetime) -> None:
    failures = row.failures + 1
    locked = failures >= MAX_FAILURES
    connection.execute(
        sa.update(schema.users)
        .where(_users.id == row.id)
        .values(failures=0 if locked else failures, locked_until=now + LOCKED_FOR if locked else None)
    )
    if locked:
        said = {"failures": failures, "minutes": LOCKED_FOR.seconds // 60}
        audit.append(connection, Act("voiceguard", Action.USER_LOCKED, row.id, said))


def _matching_step(totp_secret: str, code: str, now: dt.datetime) -> int | None:
    """Return the time step whose code this is: the present one, or the one before or after it."""
    digits = code.replace(" ", "")
    if not re.fullmatch("[0-9]{6}", digits, re.ASCII):
        return None
    totp, present = pyotp.TOTP(totp_secret), int(now.timestamp()) // _STEP_S
    for step in (present, present - 1, present + 1):
        if secrets.compare_digest(totp.at(step * _STEP_S), digits):
            return step
    return None


def _right_password(known: str, password: str) -> bool:
    if len(password) > MAX_PASSWORD_CHARS:
        return False
    try:
        return _hasher.verify(known, password)
    except argon2.exceptions.VerificationError:
        return False


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def _user(row: sa.Row[tuple[object, ...]]) -> User:
    return User(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        one_time=row.one_time,
        has_password=bool(row.password_hash),
        has_totp=row.totp_secret is not None,
        issuer=row.issuer,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        locked_until=row.locked_until,
        disabled_at=row.disabled_at,
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
