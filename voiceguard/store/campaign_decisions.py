"""One decision for all calls of a campaign: written in a few statements, however many calls there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import figures, schema
from voiceguard.store.decisions import OUTCOMES, Action, Consent, NewDecision, Stage, State, Why
from voiceguard.store.engine import INSERTS

_reviews, _decisions, _calls = schema.reviews.c, schema.decisions.c, schema.calls.c
_screenings, _standing = schema.screenings.c, schema.campaign_reviews.c


@dataclass(frozen=True)
class CampaignReview:
    """What stands for a campaign."""

    outcome: str
    """``confirmed``, ``dismissed``, ``second``, ``escalated`` or ``open``."""
    consent: Consent
    calls: int
    """How many calls it had when that was decided."""
    version: int


def find(connection: sa.Connection, campaign_seq: int) -> CampaignReview | None:
    """Return what stands for a campaign; None if nobody has decided it."""
    row = connection.execute(
        sa.select(_standing.outcome, _standing.consent, _standing.calls, _standing.version).where(
            _standing.campaign_seq == campaign_seq
        )
    ).one_or_none()
    return CampaignReview(row.outcome, Consent(row.consent), row.calls, row.version) if row else None


def open_calls(connection: sa.Connection, campaign_id: str) -> int:
    """Return how many calls of a campaign nobody has decided."""
    decided = sa.select(_reviews.call_seq).where(
        _reviews.call_seq == _calls.seq, _reviews.state != State.OPEN.value
    )
    query = sa.select(sa.func.count()).where(_calls.campaign_id == campaign_id, ~decided.exists())
    return connection.scalar(query) or 0


def add(
    connection: sa.Connection, campaign_seq: int, campaign_id: str, version: int, new: NewDecision
) -> tuple[int, int]:
    """Decide every call of a campaign that is open; return the decision's number and how many calls."""
    batch = _own_row(connection, campaign_id, version, new)
    connection.execute(
        sa.insert(schema.reviews).from_select(
            ["call_seq", "why", "rank", "started_at", "state", "version"],
            sa.select(
                _calls.seq,
                sa.literal(Why.CAMPAIGN.value),
                sa.func.coalesce(_screenings.score, 0.0),
                _calls.started_at,
                sa.literal(State.OPEN.value),
                sa.literal(0),
            )
            .join_from(schema.calls, schema.screenings)
            .where(
                _calls.campaign_id == campaign_id,
                ~sa.exists().where(_reviews.call_seq == _calls.seq),
            ),
        )
    )
    members = sa.select(_calls.seq).where(_calls.campaign_id == campaign_id)
    mine = sa.and_(_reviews.state == State.OPEN.value, _reviews.call_seq.in_(members))
    count = _copy_rows(connection, mine, campaign_id, batch, new, supersedes=None)
    figures.count_outcomes(connection, mine, OUTCOMES.get(new.action), times=1)
    connection.execute(
        sa.update(schema.reviews)
        .where(mine)
        .values(
            state=_state(new.action).value,
            outcome=OUTCOMES.get(new.action),
            consent=new.consent.value,
            version=_reviews.version + 1,
            reviewer_id=new.reviewer_id,
        )
    )
    calls = connection.scalar(sa.select(sa.func.count()).where(_calls.campaign_id == campaign_id)) or 0
    _stand(connection, campaign_seq, OUTCOMES.get(new.action, _state(new.action).value), new, calls, version)
    return batch, count


def undo(
    connection: sa.Connection, campaign_seq: int, campaign_id: str, version: int, batch: int, new: NewDecision
) -> int:
    """Take a campaign's decision back, for the calls on which nothing was decided since; return how many."""
    own = _own_row(connection, campaign_id, version, new)
    last = (
        sa.select(_calls.seq)
        .join_from(schema.decisions, schema.calls, _calls.id == _decisions.call_id)
        .join(schema.reviews, _reviews.call_seq == _calls.seq)
        .where(_decisions.batch == batch, _decisions.version == _reviews.version)
    )
    seqs = connection.scalars(last).all()
    for start in range(0, len(seqs), 500):
        mine = _reviews.call_seq.in_(seqs[start : start + 500])
        _copy_rows(connection, mine, campaign_id, own, new, supersedes=batch)
        figures.count_outcomes(connection, mine, _reviews.outcome, times=-1)
        connection.execute(
            sa.update(schema.reviews)
            .where(mine)
            .values(
                state=State.OPEN.value,
                outcome=None,
                consent=None,
                version=_reviews.version + 1,
                reviewer_id=new.reviewer_id,
            )
        )
    _stand(connection, campaign_seq, State.OPEN.value, new, 0, version)
    return len(seqs)


def _own_row(connection: sa.Connection, campaign_id: str, version: int, new: NewDecision) -> int:
    row: int = connection.execute(
        sa.insert(schema.decisions)
        .values(
            campaign_id=campaign_id,
            version=version + 1,
            reviewer_id=new.reviewer_id,
            at=new.at,
            action=new.action.value,
            stage=new.stage.value,
            reason=new.reason,
            note=new.note,
            consent=new.consent.value,
            wants_second=False,
            supersedes=new.supersedes,
        )
        .returning(_decisions.seq)
    ).scalar_one()
    return row


def _copy_rows(
    connection: sa.Connection,
    mine: sa.ColumnElement[bool],
    campaign_id: str,
    batch: int,
    new: NewDecision,
    *,
    supersedes: int | None,
) -> int:
    """Write a decision for each call of the reviews ``mine``; return how many."""
    before: sa.ColumnElement[Any] = sa.null()
    if supersedes is not None:
        earlier = schema.decisions.alias()
        before = (
            sa.select(earlier.c.seq)
            .where(earlier.c.batch == supersedes, earlier.c.call_id == _calls.id)
            .scalar_subquery()
        )
    values: dict[str, sa.ColumnElement[Any]] = {
        "call_id": _calls.id,
        "campaign_id": sa.literal(campaign_id),
        "version": _reviews.version + 1,
        "reviewer_id": sa.literal(new.reviewer_id),
        "at": sa.literal(new.at, schema.decisions.c.at.type),
        "action": sa.literal(new.action.value),
        "stage": sa.literal(Stage.FIRST.value),
        "reason": sa.literal(new.reason),
        "note": sa.literal(new.note),
        "consent": sa.literal(new.consent.value),
        "why": _reviews.why,
        "model": _screenings.model,
        "wants_second": sa.false(),
        "batch": sa.literal(batch, sa.BigInteger),
        "supersedes": sa.cast(before, sa.BigInteger),
    }
    rows = (
        sa.select(*values.values())
        .join_from(schema.reviews, schema.calls)
        .join(schema.screenings, _screenings.call_seq == _calls.seq)
        .where(mine)
    )
    count = connection.scalar(sa.select(sa.func.count()).select_from(schema.reviews).where(mine)) or 0
    connection.execute(sa.insert(schema.decisions).from_select(list(values), rows, include_defaults=False))
    return count


def _stand(
    connection: sa.Connection, campaign_seq: int, outcome: str, new: NewDecision, calls: int, version: int
) -> None:
    insert = INSERTS[connection.dialect.name]
    values = {"outcome": outcome, "consent": new.consent.value, "calls": calls, "version": version + 1}
    connection.execute(
        insert(schema.campaign_reviews)
        .values(campaign_seq=campaign_seq, **values)
        .on_conflict_do_update(index_elements=[_standing.campaign_seq], set_=values)
    )


def _state(action: Action) -> State:
    return {Action.SECOND: State.SECOND, Action.ESCALATE: State.ESCALATED}.get(action, State.DECIDED)
