"""What waits for a decision, and every decision: rows are added, never changed.

What stands for a call now (`Standing`) follows from its decisions that no later one supersedes (`standing`);
the row in ``reviews`` keeps it for the queue. ``reviews.version`` counts the decisions, and the database
accepts one decision of each number: of two reviewers at once, one comes second and is told.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.screening import Screening
from voiceguard.store import figures, schema
from voiceguard.store.engine import INSERTS
from voiceguard.verdict import Verdict

_reviews, _decisions, _calls = schema.reviews.c, schema.decisions.c, schema.calls.c
_screenings, _users = schema.screenings.c, schema.users.c
_RANDOM_SPREAD = 4.0
"""Random calls lie among flagged ones of up to so much more than the threshold."""


class Why(enum.StrEnum):
    """Why a call is reviewed."""

    FLAGGED = "flagged"
    RANDOM = "random"
    """Drawn among the calls that were not flagged, to count misses."""
    CAMPAIGN = "campaign"
    """Decided with its campaign."""
    ASKED = "asked"
    """A person chose to decide it."""


class State(enum.StrEnum):
    """Where the review of a call stands."""

    OPEN = "open"
    SECOND = "second"
    """Waits for the opinion of a second person, who does not see the first one's."""
    ESCALATED = "escalated"
    """Waits for a supervisor."""
    DECIDED = "decided"


class Action(enum.StrEnum):
    """What a reviewer does."""

    CONFIRM = "confirm"
    DISMISS = "dismiss"
    SECOND = "second"
    ESCALATE = "escalate"
    UNDO = "undo"


class Stage(enum.StrEnum):
    """In which part a decision was made."""

    FIRST = "first"
    SECOND = "second"
    """Without knowledge of the first."""
    RESOLUTION = "resolution"


class Consent(enum.StrEnum):
    """What is known of the called person's consent; apart from the verdict."""

    UNKNOWN = "unknown"
    NONE = "none"
    CLAIMED = "claimed"
    DOCUMENTED = "documented"
    NOT_NEEDED = "not_needed"


OUTCOMES = {Action.CONFIRM: "confirmed", Action.DISMISS: "dismissed"}
VERDICTS = tuple(OUTCOMES)


@dataclass(frozen=True)
class Decision:
    """One decision as it was made."""

    seq: int
    call_id: str | None
    campaign_id: str | None
    version: int
    reviewer_id: str
    reviewer: str
    at: dt.datetime
    action: Action
    stage: Stage
    reason: str
    note: str
    consent: Consent
    wants_second: bool
    batch: int | None
    supersedes: int | None


@dataclass(frozen=True)
class Standing:
    """What stands for a call by its decisions."""

    state: State = State.OPEN
    outcome: str | None = None
    consent: Consent | None = None


@dataclass(frozen=True)
class Review:
    """A call's row of the queue, locked by the transaction that read it."""

    call_seq: int
    call_id: str
    why: Why
    state: State
    outcome: str | None
    consent: Consent | None
    version: int
    model: str


@dataclass(frozen=True)
class NewDecision:
    """A decision that is to be added."""

    reviewer_id: str
    at: dt.datetime
    action: Action
    stage: Stage
    reason: str
    note: str
    consent: Consent
    wants_second: bool = False
    supersedes: int | None = None


def standing(rows: Iterable[Decision]) -> Standing:
    """Return what stands by a call's decisions, in the order in which they were made."""
    made = list(rows)
    gone = {row.supersedes for row in made}
    now, first = Standing(), None
    for row in made:
        if row.seq in gone or row.action is Action.UNDO:
            continue
        if row.action is Action.ESCALATE:
            now = Standing(State.ESCALATED, None, row.consent)
        elif row.action is Action.SECOND:
            if now.state is not State.ESCALATED:
                now = Standing(State.SECOND, None, row.consent)
        elif row.stage is Stage.RESOLUTION:
            now = Standing(State.DECIDED, OUTCOMES[row.action], row.consent)
        elif row.stage is Stage.FIRST:
            first = row.action
            if now.state is State.OPEN:
                outcome = None if row.wants_second else OUTCOMES[row.action]
                now = Standing(State.SECOND if row.wants_second else State.DECIDED, outcome, row.consent)
        elif first is not None and first is not row.action:
            now = Standing(State.ESCALATED, None, row.consent)
        elif now.state is not State.ESCALATED:
            now = Standing(State.DECIDED, OUTCOMES[row.action], row.consent)
    return now


def enrol(connection: sa.Connection, call_id: str, screening: Screening, *, random_share: float) -> None:
    """Put a call that was just stored into the queue if it was flagged, or drawn among those that were not.

    The draw is made of the call's id, which is random: the same call is drawn on every machine.
    """
    decision = screening.decision
    if decision.verdict is Verdict.SYNTHETIC:
        why, rank = Why.FLAGGED, decision.score or 0.0
    else:
        drawn = int(call_id[-12:], 16) / 16**12
        if drawn >= random_share:
            return
        why, rank = Why.RANDOM, screening.threshold + _RANDOM_SPREAD * drawn / random_share
    connection.execute(
        sa.insert(schema.reviews).from_select(
            ["call_seq", "why", "rank", "started_at", "state", "version"],
            sa.select(
                _calls.seq,
                sa.literal(why.value),
                sa.literal(rank),
                _calls.started_at,
                sa.literal(State.OPEN.value),
                sa.literal(0),
            ).where(_calls.id == call_id),
        )
    )


def locked(connection: sa.Connection, call_id: str) -> Review | None:
    """Return a call's review, made now if it had none; nobody else decides it until the transaction ends."""
    found = connection.execute(
        sa.select(_calls.seq, _calls.started_at, _screenings.model, _screenings.score, _screenings.threshold)
        .join_from(schema.calls, schema.screenings)
        .where(_calls.id == call_id)
    ).one_or_none()
    if found is None:
        return None
    insert = INSERTS[connection.dialect.name]
    connection.execute(
        insert(schema.reviews)
        .values(
            call_seq=found.seq,
            why=Why.ASKED.value,
            rank=found.score if found.score is not None else 0.0,
            started_at=found.started_at,
            state=State.OPEN.value,
            version=0,
        )
        .on_conflict_do_nothing()
    )
    row = connection.execute(
        sa.select(schema.reviews).where(_reviews.call_seq == found.seq).with_for_update()
    ).one()
    return _review(row, call_id, found.model)


def find(connection: sa.Connection, call_id: str) -> Review | None:
    """Return a call's review; None if it was never in the queue."""
    row = connection.execute(
        sa.select(schema.reviews, _screenings.model)
        .join_from(schema.reviews, schema.calls)
        .join(schema.screenings)
        .where(_calls.id == call_id)
    ).one_or_none()
    return _review(row, call_id, row.model) if row else None


def _review(row: sa.Row[Any], call_id: str, model: str) -> Review:
    return Review(
        call_seq=row.call_seq,
        call_id=call_id,
        why=Why(row.why),
        state=State(row.state),
        outcome=row.outcome,
        consent=Consent(row.consent) if row.consent else None,
        version=row.version,
        model=model,
    )


def of_call(connection: sa.Connection, call_id: str) -> list[Decision]:
    """Return a call's decisions, first one first."""
    return _read(connection, _decisions.call_id == call_id)


def of_campaign(connection: sa.Connection, campaign_ids: Sequence[str]) -> list[Decision]:
    """Return the decisions for whole campaigns, first one first."""
    return _read(connection, _decisions.campaign_id.in_(campaign_ids), _decisions.call_id.is_(None))


def one(connection: sa.Connection, seq: int) -> Decision | None:
    """Return the decision of this number."""
    return next(iter(_read(connection, _decisions.seq == seq)), None)


def _read(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Decision]:
    query = (
        sa.select(
            *(schema.decisions.c[name] for name in Decision.__dataclass_fields__ if name != "reviewer"),
            _users.name.label("reviewer"),
        )
        .join(schema.users)
        .where(*conditions)
        .order_by(_decisions.seq)
    )
    return [
        Decision(
            **{
                **row._asdict(),
                "action": Action(row.action),
                "stage": Stage(row.stage),
                "consent": Consent(row.consent),
            }
        )
        for row in connection.execute(query)
    ]


def add(connection: sa.Connection, review: Review, new: NewDecision) -> tuple[int, Standing]:
    """Add a decision to a call whose review is `locked`; return its number and what stands now."""
    seq: int = connection.execute(
        sa.insert(schema.decisions)
        .values(
            call_id=review.call_id,
            version=review.version + 1,
            reviewer_id=new.reviewer_id,
            at=new.at,
            action=new.action.value,
            stage=new.stage.value,
            reason=new.reason,
            note=new.note,
            consent=new.consent.value,
            why=review.why.value,
            model=review.model,
            wants_second=new.wants_second,
            supersedes=new.supersedes,
        )
        .returning(_decisions.seq)
    ).scalar_one()
    now = standing(of_call(connection, review.call_id))
    if now.outcome != review.outcome:
        mine = _reviews.call_seq == review.call_seq
        figures.count_outcomes(connection, mine, review.outcome, times=-1)
        figures.count_outcomes(connection, mine, now.outcome, times=1)
    connection.execute(
        sa.update(schema.reviews)
        .where(_reviews.call_seq == review.call_seq)
        .values(
            state=now.state.value,
            outcome=now.outcome,
            consent=now.consent.value if now.consent else None,
            version=review.version + 1,
            reviewer_id=new.reviewer_id,
        )
    )
    return seq, now
