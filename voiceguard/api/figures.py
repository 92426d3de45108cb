"""Figures over time: of a carrier's own calls, or of everything for a key of the agency."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from voiceguard.api import docs
from voiceguard.api.auth import CallsReader
from voiceguard.api.problems import Problem
from voiceguard.api.service import ServiceDep
from voiceguard.enforcement import figures
from voiceguard.enforcement.figures import By, Counts, Line
from voiceguard.store.engine import reading
from voiceguard.store.keys import Scope

router = APIRouter(prefix="/v1/figures", tags=["figures"])


class FiguresLine(BaseModel):
    """One line: a step of time, a provider, an attestation level or a campaign."""

    name: str = Field(
        description="Day, month or year in ISO form; provider; A, B, C or none; id of the campaign.",
        examples=["2026-03"],
    )
    screened: int = Field(description="Calls received.")
    flagged: int = Field(description="Of these, with the verdict synthetic.")
    confirmed: int = Field(description="Flagged, and found synthetic by people.")
    overturned: int = Field(description="Flagged, and dismissed by people.")
    missed: int = Field(description="Not flagged, and found synthetic by people.")
    campaigns: int | None = Field(description="Campaigns of two calls or more that began then.")
    notices_sent: int | None = Field(description="Notices sent then; for keys with cases:read.")
    notices_answered: int | None = Field(description="Of those, answered since.")
    median_answer_h: float | None = Field(description="Median hours from sending to the answer.")

    @classmethod
    def of(cls, line: Line) -> FiguresLine:
        """Show a line."""
        return cls(
            name=line.name, **{name: getattr(line.counts, name) for name in Counts.__dataclass_fields__}
        )


class Figures(BaseModel):
    """A table of figures."""

    by: By
    first: dt.date
    last: dt.date
    data: list[FiguresLine]


@router.get("", summary="Figures over time", responses=docs.errors(401, 403, 422, 429, 503))
async def read_figures(
    service: ServiceDep,
    key: CallsReader,
    by: Annotated[By, Query(description="What the lines are.")] = By.MONTH,
    first: Annotated[
        dt.date | None, Query(description="First day, UTC; by default the same month of the year before.")
    ] = None,
    last: Annotated[dt.date | None, Query(description="Last day, included; by default today.")] = None,
) -> Figures:
    """Count what came of the calls by day, month, year, provider, attestation or campaign.

    A key with the scope ``cases:read`` counts everything, another key its carrier's calls. A call counts on the
    day on which it was received, whenever people decided, and stays counted when retention deletes it.
    """
    try:
        period = figures.period_of(first, last, by, dt.datetime.now(dt.UTC).date())
    except ValueError as error:
        raise Problem(
            "invalid_request", str(error), errors=[{"at": "query.first", "message": str(error)}]
        ) from None
    carrier_id = None if Scope.CASES_READ in key.scopes else key.carrier_id

    def _read() -> list[Line]:
        with reading(service.engine) as connection:
            return figures.table(connection, by, period, carrier_id=carrier_id)

    found = await service.in_thread(_read)
    return Figures(by=by, first=period.first, last=period.last, data=[FiguresLine.of(line) for line in found])
