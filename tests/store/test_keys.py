from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.store import keys, schema
from voiceguard.store.engine import reading
from voiceguard.store.keys import Scope

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def _create(engine: sa.Engine, **options: object) -> tuple[keys.ApiKey, str]:
    chosen = {"carrier": "First Telecom", "scopes": frozenset({Scope.CALLS_READ}), **options}
    return keys.create(engine, "recorder", **chosen)  # type: ignore[arg-type]


def test_a_key_opens_and_shows_its_owner(engine: sa.Engine) -> None:
    key, secret = _create(engine)
    found = keys.find(engine, secret, NOW)
    assert found is not None
    assert (found.id, found.carrier_name, found.scopes) == (key.id, "First Telecom", {Scope.CALLS_READ})
    assert secret.startswith(found.prefix + "_")
    assert found.usable(NOW)


def test_the_secret_is_nowhere_in_the_database(engine: sa.Engine) -> None:
    _, secret = _create(engine)
    with reading(engine) as connection:
        row = connection.execute(sa.select(schema.api_keys)).one()
    assert secret[12:] not in repr(row)


def test_keys_of_one_carrier_share_it(engine: sa.Engine) -> None:
    assert _create(engine)[0].carrier_id == _create(engine)[0].carrier_id
    assert _create(engine, carrier="Other")[0].carrier_id != _create(engine)[0].carrier_id


def test_a_mistyped_key_is_not_well_formed(engine: sa.Engine) -> None:
    _, secret = _create(engine)
    assert keys.well_formed(secret)
    for place in range(len(secret)):
        wrong = secret[:place] + ("x" if secret[place] != "x" else "y") + secret[place + 1 :]
        assert not keys.well_formed(wrong), place
    assert keys.find(engine, secret[:-1], NOW) is None


@given(st.text())
def test_no_text_upsets_the_check(text: str) -> None:
    assert not keys.well_formed(text)


def test_expired_and_revoked_keys_are_found_but_not_usable(engine: sa.Engine) -> None:
    key, secret = _create(engine, expires_at=NOW + dt.timedelta(days=1))
    found = keys.find(engine, secret, NOW + dt.timedelta(days=1))
    assert found is not None
    assert not found.usable(NOW + dt.timedelta(days=1))
    assert [one.id for one in keys.revoke(engine, key.prefix, NOW)] == [key.id]
    found = keys.find(engine, secret, NOW)
    assert found is not None
    assert not found.usable(NOW)
    assert keys.revoke(engine, key.prefix, NOW) == []


def test_use_is_noted_at_most_once_a_minute(engine: sa.Engine) -> None:
    _, secret = _create(engine)
    keys.find(engine, secret, NOW)
    keys.find(engine, secret, NOW + dt.timedelta(seconds=59))
    assert [key.last_used_at for key in keys.all_keys(engine)] == [NOW]
    keys.find(engine, secret, NOW + dt.timedelta(seconds=60))
    assert [key.last_used_at for key in keys.all_keys(engine)] == [NOW + dt.timedelta(seconds=60)]


def test_a_scope_of_another_version_opens_nothing(engine: sa.Engine) -> None:
    key, secret = _create(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(schema.api_keys).values(scopes=["calls:read", "moon:walk"]))
    found = keys.find(engine, secret, NOW)
    assert found is not None
    assert found.scopes == key.scopes
