"""How well reviewers agree with each other and with the detector, by model."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.store import schema
from voiceguard.store.decisions import VERDICTS, Action, Stage, State, Why

_decisions, _reviews, _screenings = schema.decisions.c, schema.reviews.c, schema.screenings.c


@dataclass(frozen=True)
class Share:
    """How often something happened, with its 95 % Clopper-Pearson interval."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound, 0–1."""
        if not self.total:
            return 0.0, 1.0
        from scipy.stats import binomtest  # only this page needs it, and it takes long to import

        found = binomtest(self.count, self.total).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Agreement:
    """What was found for one model."""

    model: str
    pairs: int
    """Calls that two people decided, the second without knowing the first decision."""
    agreed: int
    kappa: float | None
    """Cohen's kappa [1]_; None without pairs, or where both always say the same one thing.

    .. [1] J. Cohen: "A coefficient of agreement for nominal scales", Educ. Psychol. Meas. 20(1), 1960.
    """
    overturned: Share
    """Flags that were dismissed, of those decided."""
    missed: Share
    """Synthetic voices among the calls drawn at random that were not flagged, of those decided."""


def kappa(both_confirm: int, both_dismiss: int, first_only: int, second_only: int) -> float | None:
    """Return Cohen's kappa of two people's verdicts.

    Parameters
    ----------
    both_confirm, both_dismiss
        Calls on which they agree.
    first_only, second_only
        Calls that only the first, or only the second one confirmed.
    """
    total = both_confirm + both_dismiss + first_only + second_only
    if not total:
        return None
    first, second = (both_confirm + first_only) / total, (both_confirm + second_only) / total
    by_chance = first * second + (1 - first) * (1 - second)
    if by_chance == 1:
        return None
    return ((both_confirm + both_dismiss) / total - by_chance) / (1 - by_chance)


def agreements(connection: sa.Connection) -> list[Agreement]:
    """Return the figures of every model that screened something decided."""
    pairs: dict[str, dict[tuple[str, str], int]] = {}
    first, second = schema.decisions.alias(), schema.decisions.alias()
    verdicts = [one.value for one in VERDICTS]
    query = (
        sa.select(first.c.model, first.c.action, second.c.action, sa.func.count())
        .join_from(first, second, first.c.call_id == second.c.call_id)
        .where(
            first.c.stage == Stage.FIRST.value,
            second.c.stage == Stage.SECOND.value,
            first.c.action.in_(verdicts),
            second.c.action.in_(verdicts),
            *(_stands(one) for one in (first, second)),
        )
        .group_by(first.c.model, first.c.action, second.c.action)
    )
    for model, one, other, count in connection.execute(query):
        pairs.setdefault(model, {})[one, other] = count
    outcomes: dict[str, dict[tuple[str, str], int]] = {}
    query = (
        sa.select(_screenings.model, _reviews.why, _reviews.outcome, sa.func.count())
        .join_from(schema.reviews, schema.screenings, _screenings.call_seq == _reviews.call_seq)
        .where(_reviews.state == State.DECIDED.value)
        .group_by(_screenings.model, _reviews.why, _reviews.outcome)
    )
    for model, why, outcome, count in connection.execute(query):
        outcomes.setdefault(model, {})[why, outcome] = count
    return [
        _agreement(model, pairs.get(model, {}), outcomes.get(model, {}))
        for model in sorted({*pairs, *outcomes})
    ]


def _agreement(
    model: str, pairs: dict[tuple[str, str], int], outcomes: dict[tuple[str, str], int]
) -> Agreement:
    yes, no = Action.CONFIRM.value, Action.DISMISS.value
    cells = [pairs.get(cell, 0) for cell in ((yes, yes), (no, no), (yes, no), (no, yes))]
    right, wrong = (outcomes.get((Why.FLAGGED.value, one), 0) for one in ("confirmed", "dismissed"))
    missed, clear = (outcomes.get((Why.RANDOM.value, one), 0) for one in ("confirmed", "dismissed"))
    return Agreement(
        model=model,
        pairs=sum(cells),
        agreed=cells[0] + cells[1],
        kappa=kappa(*cells),
        overturned=Share(wrong, wrong + right),
        missed=Share(missed, missed + clear),
    )


def _stands(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return ~sa.exists().where(_decisions.supersedes == table.c.seq)
