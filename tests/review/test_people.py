from __future__ import annotations

import datetime as dt

import pyotp
import pytest
import sqlalchemy as sa

from voiceguard.store import people
from voiceguard.store.people import MAX_FAILURES, NewAccount, PeopleError, Purpose, Role

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def account(engine: sa.Engine) -> NewAccount:
    return people.create(engine, "ann", Role.ANALYST, password=PASSWORD)


def code(account: NewAccount, at: dt.datetime) -> str:
    return pyotp.TOTP(account.totp_secret or "").at(at)


def test_signs_in_with_password_and_code(engine: sa.Engine, account: NewAccount) -> None:
    found = people.sign_in(engine, "ann", PASSWORD, code(account, NOW), NOW)
    assert found is not None
    session, token = found
    assert people.session(engine, token, NOW) == session
    assert people.session(engine, token[:-1] + "x", NOW) is None


def test_each_code_is_good_once_and_old_ones_are_not(engine: sa.Engine, account: NewAccount) -> None:
    assert people.sign_in(engine, "ann", PASSWORD, code(account, NOW), NOW) is not None
    assert people.sign_in(engine, "ann", PASSWORD, code(account, NOW), NOW) is None
    later = NOW + dt.timedelta(minutes=2)
    assert people.sign_in(engine, "ann", PASSWORD, code(account, NOW), later) is None
    assert people.sign_in(engine, "ann", PASSWORD, code(account, later), later) is not None


@pytest.mark.parametrize("wrong", ["", "12345", "abcdef", "٣٣٣٣٣٣"])
def test_password_without_code_opens_nothing(engine: sa.Engine, account: NewAccount, wrong: str) -> None:
    assert people.sign_in(engine, "ann", PASSWORD, wrong, NOW) is None


def test_locks_after_failures_and_opens_again(engine: sa.Engine, account: NewAccount) -> None:
    for _ in range(MAX_FAILURES):
        assert people.sign_in(engine, "ann", "wrong", code(account, NOW), NOW) is None
    assert people.sign_in(engine, "ann", PASSWORD, code(account, NOW), NOW) is None
    later = NOW + people.LOCKED_FOR
    assert people.sign_in(engine, "ann", PASSWORD, code(account, later), later) is not None


def test_sessions_end(engine: sa.Engine, account: NewAccount) -> None:
    found = people.sign_in(engine, "ann", PASSWORD, code(account, NOW), NOW)
    assert found is not None
    session, token = found
    assert people.session(engine, token, NOW + people.IDLE) is None
    assert people.session(engine, token, NOW) is not None
    people.set_purpose(engine, session, Purpose.COURT)
    changed = people.session(engine, token, NOW)
    assert changed is not None
    assert changed.purpose is Purpose.COURT
    assert people.disable(engine, "ann", NOW)
    assert people.session(engine, token, NOW) is None
    assert not people.disable(engine, "ann", NOW)
    later = NOW + dt.timedelta(minutes=2)
    assert people.sign_in(engine, "ann", PASSWORD, code(account, later), later) is None


def test_a_one_time_password_must_be_changed(engine: sa.Engine) -> None:
    made = people.create(engine, "bob", Role.ADMIN)
    assert made.user.one_time
    found = people.sign_in(engine, "bob", made.password, code(made, NOW), NOW)
    assert found is not None
    for new in ("short", made.password, "x" * 1000):
        with pytest.raises(PeopleError, match="Expected"):
            people.change_password(engine, found[0], made.password, new)
    with pytest.raises(PeopleError, match="signed in with"):
        people.change_password(engine, found[0], "not the old one", PASSWORD)
    people.change_password(engine, found[0], made.password, PASSWORD)
    session = people.session(engine, found[1], NOW)
    assert session is not None
    assert not session.user.one_time


@pytest.mark.parametrize("name", ["", "Ann", "a b", "../x", "a" * 65, "-a", "ann"])
def test_refuses_names(engine: sa.Engine, account: NewAccount, name: str) -> None:
    with pytest.raises(PeopleError, match="Expected a"):
        people.create(engine, name, Role.ANALYST)
