"""Companies in a call's path, and who is on duty there; the agency's own duty list lies beside theirs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from voiceguard.store import audit, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.case_schema import duty_contacts, providers
from voiceguard.store.endpoints import new_secret

AGENCY = "agency"
"""What stands for the agency itself where a provider's id is asked for."""
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class NewProvider:
    """What is known of a provider."""

    name: str
    carrier_id: str | None = None
    """Whose API keys are the provider's."""
    spid: str | None = None
    """Service provider code, such as an OCN."""
    origids: tuple[str, ...] = ()
    """What its SHAKEN tokens name as origin."""
    email: str | None = None
    """Where notices go."""


@dataclass(frozen=True)
class Provider(NewProvider):
    """A provider as the database knows it."""

    seq: int = 0
    id: str = ""


@dataclass(frozen=True)
class NewContact:
    """A person, or a pager, that a duty list names."""

    name: str
    email: str | None = None
    webhook: str | None = None
    days: str = "1111111"
    """Monday first, in UTC; 1 is on duty."""
    from_minute: int = 0
    """Of the day, in UTC."""
    to_minute: int = _DAY_MINUTES
    """Not included; one before ``from_minute`` is on the next day."""


@dataclass(frozen=True)
class Contact(NewContact):
    """A row of a duty list."""

    seq: int = 0
    id: str = ""
    provider_id: str | None = None
    rank: int = 0
    secret: str = ""

    def on_duty(self, at: dt.datetime) -> bool:
        """Say whether the contact is on duty at a moment."""
        at = at.astimezone(dt.UTC)
        minute, today = at.hour * 60 + at.minute, at.weekday()
        if self.from_minute < self.to_minute:
            return self.days[today] == "1" and self.from_minute <= minute < self.to_minute
        began_today = self.days[today] == "1" and minute >= self.from_minute
        return began_today or (self.days[today - 1] == "1" and minute < self.to_minute)


def to_page(contacts: Sequence[Contact], at: dt.datetime) -> list[Contact]:
    """Return whom to page, in order: those on duty first, then the others, each by rank."""
    return sorted(contacts, key=lambda one: (not one.on_duty(at), one.rank, one.seq))


def add(connection: sa.Connection, new: NewProvider, *, now: dt.datetime, actor: str) -> Provider:
    """Write a new provider."""
    row = connection.execute(
        sa.insert(providers).values(**_values(new), created_at=now).returning(providers)
    ).one()
    found = _provider(row)
    _note(connection, actor, found)
    return found


def change(connection: sa.Connection, provider_id: str, new: NewProvider, *, actor: str) -> Provider | None:
    """Overwrite what is known of a provider; None if there is none with this id."""
    row = connection.execute(
        sa.update(providers).where(providers.c.id == provider_id).values(**_values(new)).returning(providers)
    ).one_or_none()
    if row is None:
        return None
    found = _provider(row)
    _note(connection, actor, found)
    return found


def get(connection: sa.Connection, provider_id: str) -> Provider | None:
    """Return the provider with this id."""
    return _one(connection, providers.c.id == provider_id)


def named(connection: sa.Connection, name: str) -> Provider | None:
    """Return the provider of this name, whatever its case."""
    return _one(connection, sa.func.lower(providers.c.name) == name.strip().lower())


def of_carrier(connection: sa.Connection, carrier_id: str) -> Provider | None:
    """Return the provider whose API keys are this carrier's."""
    return _one(connection, providers.c.carrier_id == carrier_id)


def every(connection: sa.Connection) -> list[Provider]:
    """Return all providers by name."""
    query = sa.select(providers).order_by(sa.func.lower(providers.c.name))
    return [_provider(row) for row in connection.execute(query)]


def by_origid(found: Iterable[Provider]) -> dict[str, Provider]:
    """Return which provider signs with which origid."""
    return {origid.lower(): one for one in found for origid in one.origids}


def carriers_without(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return id and name of the carriers whose keys are no provider's yet."""
    table = schema.carriers.c
    taken = sa.select(providers.c.carrier_id).where(providers.c.carrier_id.is_not(None))
    query = sa.select(table.id, table.name).where(table.id.not_in(taken)).order_by(table.name)
    return [(row.id, row.name) for row in connection.execute(query)]


def contacts(connection: sa.Connection, provider_id: str | None) -> list[Contact]:
    """Return a provider's duty list in its order; None is the agency's."""
    table = duty_contacts.c
    query = sa.select(duty_contacts).where(
        table.provider_id.is_(None) if provider_id is None else table.provider_id == provider_id
    )
    rows = connection.execute(query.order_by(table.rank, table.seq))
    return [Contact(**row._asdict()) for row in rows]


def add_contact(
    connection: sa.Connection, provider_id: str | None, new: NewContact, *, actor: str
) -> Contact:
    """Put a contact at the end of a duty list."""
    listed = contacts(connection, provider_id)
    row = connection.execute(
        sa.insert(duty_contacts)
        .values(
            **{field.name: getattr(new, field.name) for field in fields(NewContact)},
            provider_id=provider_id,
            rank=max((one.rank for one in listed), default=0) + 1,
            secret=new_secret(),
        )
        .returning(duty_contacts)
    ).one()
    _note_duty(connection, actor, provider_id, "contact_added", row.id)
    return Contact(**row._asdict())


def remove_contact(connection: sa.Connection, contact_id: str, *, actor: str) -> bool:
    """Take a contact off its duty list; False if there is none with this id."""
    row = connection.execute(
        sa.delete(duty_contacts).where(duty_contacts.c.id == contact_id).returning(duty_contacts)
    ).one_or_none()
    if row is not None:
        _note_duty(connection, actor, row.provider_id, "contact_removed", contact_id)
    return row is not None


def _values(new: NewProvider) -> dict[str, Any]:
    return {
        **{field.name: getattr(new, field.name) for field in fields(NewProvider)},
        "origids": list(new.origids),
    }


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Provider | None:
    row = connection.execute(sa.select(providers).where(condition).limit(1)).one_or_none()
    return _provider(row) if row else None


def _provider(row: sa.Row[Any]) -> Provider:
    values = row._asdict()
    del values["created_at"]
    return Provider(**dict(values, origids=tuple(values["origids"])))


def _note(connection: sa.Connection, actor: str, found: Provider) -> None:
    said = {
        "name": found.name,
        "carrier_id": found.carrier_id,
        "spid": found.spid,
        "origids": list(found.origids),
        "email_sha256": audit.digest(found.email) if found.email else None,
    }
    audit.append(connection, Act(actor, Action.PROVIDER_CHANGED, found.id, said))


def _note_duty(
    connection: sa.Connection, actor: str, provider_id: str | None, what: str, contact_id: str
) -> None:
    said = {"what": what, "contact_id": contact_id}
    audit.append(connection, Act(actor, Action.PROVIDER_CHANGED, provider_id or AGENCY, said))
