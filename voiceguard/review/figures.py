"""The page of figures over time, with plots and tables, and its tables as CSV."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from voiceguard.api.service import ServiceDep
from voiceguard.enforcement import figures
from voiceguard.enforcement.figures import By, Counts, Line, Period
from voiceguard.review.access import Reader
from voiceguard.review.pages import PageRoute, Refused, render
from voiceguard.store.engine import reading

router = APIRouter(prefix="/review", route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True)
class Bar:
    """A step of time in the plots; heights are shares of the plot's."""

    name: str
    counts: Counts
    screened: float
    confirmed: float
    overturned: float
    waiting: float


def bars(lines: list[Line]) -> list[Bar]:
    """Return the bars of the two plots: screened calls, and flagged calls by what became of them."""
    most = max((line.counts.screened for line in lines), default=0) or 1
    most_flagged = max((line.counts.flagged for line in lines), default=0) or 1
    found = []
    for line in lines:
        counts = line.counts
        found.append(
            Bar(
                line.name,
                counts,
                counts.screened / most,
                counts.confirmed / most_flagged,
                counts.overturned / most_flagged,
                max(counts.flagged - counts.confirmed - counts.overturned, 0) / most_flagged,
            )
        )
    return found


def as_csv(by: By, lines: list[Line]) -> str:
    """Return a table as CSV with a head line; a name that a spreadsheet would compute is quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = [field.name for field in dataclasses.fields(Counts)]
    writer.writerow([by.value, *names])
    for line in lines:
        name = f"'{line.name}" if line.name.startswith(("=", "+", "-", "@", "\t", "\r")) else line.name
        writer.writerow([name, *(getattr(line.counts, one) for one in names)])
    return out.getvalue()


By_ = Annotated[By, Query()]


@router.get("/figures")
async def figures_page(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    by: By_ = By.MONTH,
    first: str = "",
    last: str = "",
) -> Response:
    """Show what came of the calls over time."""
    now = dt.datetime.now(dt.UTC)
    by = by if by in figures.TIMES else By.MONTH
    period = _asked(first, last, by, now.date())

    def _read() -> dict[str, Any]:
        with reading(service.engine) as connection:
            over_time = figures.table(connection, by, period)
            by_provider, by_level = figures.by_provider_and_level(connection, period)
            return {
                "lines": over_time,
                "tables": {
                    By.PROVIDER: by_provider,
                    By.ATTESTATION: by_level,
                    By.CAMPAIGN: figures.table(connection, By.CAMPAIGN, period),
                },
                "total": figures.total(connection, period, over_time),
                "compared": figures.compared(connection, now.date()),
                "silent": figures.silent(connection, period, now),
                "since": figures.first_day(connection),
            }

    values = await service.in_thread(_read)
    return render(
        request, "figures.html", by=by, period=period, bars=bars(values["lines"]), By=By, now=now, **values
    )


@router.get("/figures.csv")
async def figures_csv(
    request: Request,
    service: ServiceDep,
    visitor: Reader,
    by: By_ = By.MONTH,
    first: str = "",
    last: str = "",
) -> Response:
    """Send a table as CSV."""
    period = _asked(first, last, by, dt.datetime.now(dt.UTC).date())

    def _read() -> list[Line]:
        with reading(service.engine) as connection:
            return figures.table(connection, by, period)

    text = as_csv(by, await service.in_thread(_read))
    name = f"figures-{by.value}-{period.first}-{period.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8")


def _asked(first: str, last: str, by: By, today: dt.date) -> Period:
    try:
        days = [dt.date.fromisoformat(one) if one else None for one in (first, last)]
        return figures.period_of(days[0], days[1], by, today)
    except ValueError as error:
        raise Refused(422, "These days can't be shown", f"{str(error).capitalize()}.") from None
