"""Accounts of people whom an OpenID Connect service signs in, on both kinds of database."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest
import sqlalchemy as sa

from voiceguard.store import audit, identities, people
from voiceguard.store.engine import reading
from voiceguard.store.identities import Identity, Refusal
from voiceguard.store.people import MAX_FAILURES, PeopleError, Role, Session

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
PASSWORD = "correct horse battery"
ANN = Identity("https://id.example.org", "8f3c9d8c")


def sign_in(
    engine: sa.Engine,
    role: Role | None = Role.ANALYST,
    *,
    identity: Identity = ANN,
    name: str = "ann",
) -> tuple[Session, str] | Refusal:
    return identities.sign_in(engine, identity, name, role, NOW)


def session_of(found: tuple[Session, str] | Refusal) -> Session:
    assert not isinstance(found, Refusal), found
    return found[0]


def log(engine: sa.Engine, user_id: str) -> list[tuple[str, str, dict[str, object]]]:
    with reading(engine) as connection:
        rows = [row.fields for row in audit.rows_of(connection, [user_id])]
    return [(row["actor"], row["action"], row["data"]) for row in rows]


def test_the_first_sign_in_opens_an_account_and_the_next_finds_it(engine: sa.Engine) -> None:
    first = sign_in(engine)
    session = session_of(first)
    assert isinstance(first, tuple)
    assert people.session(engine, first[1], NOW) == session
    user = session.user
    assert (user.name, user.role, user.issuer) == ("ann", Role.ANALYST, ANN.issuer)
    assert not user.has_password
    assert not user.one_time
    # Under another name there: it is the same person.
    again = session_of(sign_in(engine, Role.SUPERVISOR, name="ann.other")).user
    assert (again.id, again.name, again.role) == (user.id, "ann", Role.SUPERVISOR)
    who = {"issuer": ANN.issuer, "subject_sha256": audit.digest(ANN.subject)}
    assert log(engine, user.id) == [
        ("voiceguard", "user.created", {"name": "ann", "role": "analyst", **who}),
        (user.id, "user.signed_in", who),
        ("voiceguard", "user.role_changed", {"role": "supervisor", "before": "analyst", **who}),
        (user.id, "user.signed_in", who),
    ]


@pytest.mark.parametrize(
    "other", [Identity(ANN.issuer, "8F3C9D8C"), Identity("https://elsewhere.example", ANN.subject)]
)
def test_another_subject_or_issuer_is_another_person(engine: sa.Engine, other: Identity) -> None:
    user = session_of(sign_in(engine)).user
    assert sign_in(engine, identity=other) is Refusal.NAME_TAKEN
    assert session_of(sign_in(engine, identity=other, name="ann2")).user.id != user.id


def test_an_account_with_a_password_is_not_taken_over(engine: sa.Engine) -> None:
    made = people.create(engine, "ann", Role.ADMIN, password=PASSWORD)
    assert sign_in(engine, Role.ADMIN) is Refusal.NAME_TAKEN
    (user,) = people.everyone(engine)
    assert (user.id, user.issuer, user.signed_in_at) == (made.user.id, None, None)


@pytest.mark.parametrize("keep_password", [False, True])
def test_an_account_is_linked_by_who_may(engine: sa.Engine, keep_password: bool) -> None:
    made = people.create(engine, "ann", Role.ADMIN, password=PASSWORD)
    code = pyotp.TOTP(made.totp_secret or "").at(NOW)
    before = people.sign_in(engine, "ann", PASSWORD, code, NOW)
    assert before is not None
    linked = identities.link(engine, "ann", ANN, keep_password=keep_password)
    assert (linked.has_password, linked.issuer) == (keep_password, ANN.issuer)
    assert people.session(engine, before[1], NOW) is None
    assert session_of(sign_in(engine, Role.AUDITOR, name="mira")).user.id == made.user.id
    later = NOW + dt.timedelta(minutes=2)
    by_password = people.sign_in(engine, "ann", PASSWORD, pyotp.TOTP(made.totp_secret or "").at(later), later)
    assert (by_password is not None) == keep_password
    assert log(engine, made.user.id)[2][1:] == (
        "user.linked",
        {
            "issuer": ANN.issuer,
            "subject_sha256": audit.digest(ANN.subject),
            "keeps_password": keep_password,
        },
    )


def test_one_person_has_one_account(engine: sa.Engine) -> None:
    for name in ("ann", "bob"):
        people.create(engine, name, Role.ANALYST, password=PASSWORD)
    identities.link(engine, "ann", ANN)
    with pytest.raises(PeopleError, match="voiceguard user unlink ann"):
        identities.link(engine, "bob", ANN)
    # Another subject in place of the first; the first is free again.
    identities.link(engine, "ann", Identity(ANN.issuer, "other"))
    identities.link(engine, "bob", ANN)
    found = sign_in(engine)
    assert session_of(found).user.name == "bob"
    assert not identities.unlink(engine, "bob").has_password
    assert isinstance(found, tuple)
    assert people.session(engine, found[1], NOW) is None
    assert sign_in(engine, name="bob") is Refusal.NAME_TAKEN
    with pytest.raises(PeopleError, match="that is linked"):
        identities.unlink(engine, "bob")


@pytest.mark.parametrize(
    ("name", "identity"), [("nobody", ANN), ("gone", ANN), ("ann", Identity(ANN.issuer, "ä"))]
)
def test_refuses_links(engine: sa.Engine, name: str, identity: Identity) -> None:
    for one in ("ann", "gone"):
        people.create(engine, one, Role.ANALYST, password=PASSWORD)
    people.disable(engine, "gone", NOW)
    with pytest.raises(PeopleError, match="Expected"):
        identities.link(engine, name, identity)
    assert {user.issuer for user in people.everyone(engine)} == {None}


def test_a_closed_account_stays_closed(engine: sa.Engine) -> None:
    session_of(sign_in(engine))
    people.disable(engine, "ann", NOW)
    assert sign_in(engine, Role.ADMIN) is Refusal.CLOSED
    assert sign_in(engine, Role.ADMIN, name="ann2") is Refusal.CLOSED
    (user,) = people.everyone(engine)
    assert (user.role, user.disabled_at) == (Role.ANALYST, NOW)


def test_without_a_role_nobody_gets_in_and_who_is_in_gets_out(engine: sa.Engine) -> None:
    assert sign_in(engine, None) is Refusal.NO_ROLE
    assert people.everyone(engine) == []
    found = sign_in(engine)
    assert isinstance(found, tuple)
    assert sign_in(engine, None) is Refusal.NO_ROLE
    assert people.session(engine, found[1], NOW) is None
    assert session_of(sign_in(engine)).user.id == found[0].user.id


def test_who_guesses_passwords_locks_nobody_out(engine: sa.Engine) -> None:
    people.create(engine, "ann", Role.ANALYST, password=PASSWORD)
    identities.link(engine, "ann", ANN, keep_password=True)
    session_of(sign_in(engine, identity=Identity(ANN.issuer, "bob"), name="bob"))
    for name in ("ann", "bob"):
        for guess in ("", "wrong", *("wrong",) * MAX_FAILURES):
            assert people.sign_in(engine, name, guess, "", NOW) is None
    locked = {user.name: user.locked_until is not None for user in people.everyone(engine)}
    assert locked == {"ann": True, "bob": False}
    session_of(sign_in(engine))
    session_of(sign_in(engine, identity=Identity(ANN.issuer, "bob")))


def test_two_first_sign_ins_at_once_open_one_account(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: sign_in(engine), range(4)))
    assert len({session_of(one).user.id for one in found}) == 1
    assert len(people.everyone(engine)) == 1


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
def test_an_account_opened_while_one_looks_for_it_is_found(engine: sa.Engine) -> None:
    """SQLite has one writer at a time; on PostgreSQL another may commit between two statements."""
    others: list[tuple[Session, str] | Refusal | None] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def _another_is_faster(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "JOIN identities" in statement and not others:
            others.append(None)
            others[0] = sign_in(engine)

    user = session_of(sign_in(engine)).user
    assert others[0] is not None
    assert session_of(others[0]).user.id == user.id
