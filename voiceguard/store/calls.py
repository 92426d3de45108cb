"""Calls and their screenings: written once, in one transaction; read by id or page by page."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.errors import RecordingsUnavailable
from voiceguard.screening import ChannelScreening, Screening
from voiceguard.store import figures, schema
from voiceguard.store.engine import INSERTS
from voiceguard.store.recordings import Recordings
from voiceguard.verdict import Verdict

# Built once: to build a statement takes as long as to run it.
_INSERT_CALL = sa.insert(schema.calls).returning(schema.calls.c.seq)
_INSERT_SCREENING = sa.insert(schema.screenings)
_CLAIM_RECORDING = {
    # An update of what is equal anyway: DO NOTHING would not lock the row.
    name: statement.on_conflict_do_update(
        index_elements=[schema.recordings.c.sha256], set_={"size_bytes": statement.excluded.size_bytes}
    )
    for name, statement in ((name, insert(schema.recordings)) for name, insert in INSERTS.items())
}


@dataclass(frozen=True)
class NewCall:
    """A call as a carrier tells of it."""

    id: str
    carrier_id: str
    started_at: dt.datetime
    received_at: dt.datetime
    carrier_call_id: str | None = None
    caller: str | None = None
    callee: str | None = None
    identity: str | None = None
    """The SIP ``Identity`` headers as received."""
    passports: list[dict[str, Any]] | None = None
    attestation: dict[str, Any] | None = None
    upstream_provider: str | None = None
    recording_basis: str | None = None
    remote_channel: int | None = None
    salt: str | None = None
    """Random, for the call's hash in the audit log; None for a call from before there was a log."""
    stream: dict[str, Any] | None = None
    """How a live call came: protocol, whether to its end, what was lost; None for a posted one."""


@dataclass(frozen=True)
class Call(NewCall):
    """A call as the database knows it."""

    seq: int = 0
    """Place in the order of arrival."""
    recording_sha256: str = ""
    campaign_id: str | None = None
    announcement: str | None = None
    """Name of the known announcement that the recording is; such a call is in no campaign."""
    campaign_calls: int = 0
    """How many calls the campaign has by now."""

    @property
    def prerecorded(self) -> bool:
        """Whether the same recording was heard in another call too."""
        return self.campaign_calls > 1


@dataclass(frozen=True)
class Filter:
    """Which calls a page shows; None leaves a field open. Times and scores: from, included; to, not."""

    carrier_id: str | None = None
    verdict: Verdict | None = None
    caller: str | None = None
    callee: str | None = None
    campaign_id: str | None = None
    started_from: dt.datetime | None = None
    started_to: dt.datetime | None = None
    score_from: float | None = None
    score_to: float | None = None


def insert(
    connection: sa.Connection,
    recordings: Recordings,
    call: NewCall,
    screening: Screening,
) -> None:
    """Write a call that belongs to no campaign in the caller's transaction: `claim`, then `insert_claimed`."""
    claim(connection, recordings, screening)
    insert_claimed(connection, call, screening)


def claim(connection: sa.Connection, recordings: Recordings, screening: Screening) -> None:
    """Write the recording's row, so that it stays until the caller's transaction ends.

    Raises
    ------
    RecordingsUnavailable
        The recording is no longer in the store: it was deleted with another call at this very moment.
    """
    _insert_recording(connection, screening)
    # The row is locked now, so retention waits; what it deleted before is seen here.
    if not recordings.exists(screening.sha256):
        raise RecordingsUnavailable("The same recording was deleted with another call just now; post again.")


def insert_claimed(
    connection: sa.Connection,
    call: NewCall,
    screening: Screening,
    *,
    campaign_id: str | None = None,
    announcement: str | None = None,
) -> None:
    """Write the call and its screening after `claim`, in the same transaction."""
    seq = connection.execute(
        _INSERT_CALL,
        {
            **{name: getattr(call, name) for name in NewCall.__dataclass_fields__},
            "level": (call.attestation or {}).get("level") or "none",
            "recording_sha256": screening.sha256,
            "campaign_id": campaign_id,
            "announcement": announcement,
        },
    ).scalar_one()
    decision = screening.decision
    connection.execute(
        _INSERT_SCREENING,
        {
            "call_seq": seq,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "score": decision.score,
            "probability": decision.probability,
            "threshold": screening.threshold,
            "review_threshold": screening.review_threshold,
            "model": screening.model,
            "deciding_channel": screening.deciding_channel,
            "channels": [dataclasses.asdict(channel) for channel in screening.channels],
        },
    )
    figures.count_call(connection, call, decision.verdict)


def _insert_recording(connection: sa.Connection, screening: Screening) -> None:
    connection.execute(
        _CLAIM_RECORDING[connection.dialect.name],
        {
            "sha256": screening.sha256,
            "size_bytes": screening.size_bytes,
            "container": screening.container,
            "codec": screening.codec,
            "rate_hz": screening.rate_hz,
            "duration_s": screening.duration_s,
        },
    )


def get(
    connection: sa.Connection, call_id: str, *, carrier_id: str | None = None
) -> tuple[Call, Screening] | None:
    """Return a call and its screening; None if there is none, or not of this carrier."""
    query = _query().where(schema.calls.c.id == call_id)
    if carrier_id is not None:
        query = query.where(schema.calls.c.carrier_id == carrier_id)
    row = connection.execute(query).one_or_none()
    return _from_row(row) if row else None


def page(
    connection: sa.Connection, wanted: Filter, *, before_seq: int | None, limit: int
) -> list[tuple[Call, Screening]]:
    """Return up to ``limit`` calls that ``wanted`` lets through, latest first, before ``before_seq``."""
    calls, screenings = schema.calls.c, schema.screenings.c
    conditions = [
        column == value
        for column, value in (
            (calls.carrier_id, wanted.carrier_id),
            (calls.caller, wanted.caller),
            (calls.callee, wanted.callee),
            (calls.campaign_id, wanted.campaign_id),
            (screenings.verdict, wanted.verdict),
        )
        if value is not None
    ]
    if wanted.started_from is not None:
        conditions.append(calls.started_at >= wanted.started_from)
    if wanted.started_to is not None:
        conditions.append(calls.started_at < wanted.started_to)
    if wanted.score_from is not None:
        conditions.append(screenings.score >= wanted.score_from)
    if wanted.score_to is not None:
        conditions.append(screenings.score < wanted.score_to)
    if before_seq is not None:
        conditions.append(calls.seq < before_seq)
    query = _query().where(*conditions).order_by(calls.seq.desc()).limit(limit)
    return [_from_row(row) for row in connection.execute(query)]


def every(connection: sa.Connection) -> Iterator[tuple[Call, Screening]]:
    """Yield all calls with their screenings, first arrival first."""
    query = _query().order_by(schema.calls.c.seq)
    for row in connection.execute(query, execution_options={"yield_per": 500}):
        yield _from_row(row)


def _query() -> sa.Select[tuple[Any, ...]]:
    screenings = [
        column.label(f"s_{column.name}") for column in schema.screenings.c if column.name != "call_seq"
    ]
    recordings = [column.label(f"r_{column.name}") for column in schema.recordings.c]
    return (
        sa.select(
            schema.calls,
            sa.func.coalesce(schema.campaigns.c.calls, 0).label("campaign_calls"),
            *screenings,
            *recordings,
        )
        .join(schema.screenings)
        .join(schema.recordings)
        .outerjoin(schema.campaigns, schema.campaigns.c.id == schema.calls.c.campaign_id)
    )


def _from_row(row: sa.Row[tuple[Any, ...]]) -> tuple[Call, Screening]:
    values = row._asdict()
    call = Call(**{field.name: values[field.name] for field in dataclasses.fields(Call)})
    screening = Screening(
        sha256=values["r_sha256"],
        size_bytes=values["r_size_bytes"],
        container=values["r_container"],
        codec=values["r_codec"],
        rate_hz=values["r_rate_hz"],
        duration_s=values["r_duration_s"],
        model=values["s_model"],
        threshold=values["s_threshold"],
        review_threshold=values["s_review_threshold"],
        channels=tuple(ChannelScreening.from_plain(channel) for channel in values["s_channels"]),
        deciding_channel=values["s_deciding_channel"],
    )
    return call, screening
