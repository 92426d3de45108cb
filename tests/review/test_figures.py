"""The figures, each held against a plain query over calls that were filled in, decided and taken back."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from scripts.fill_calls import fill
from tests.review.conftest import Desk, running
from tests.store.conftest import NOW, keep, screening_of
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement import figures
from voiceguard.enforcement.decisions import Choice
from voiceguard.enforcement.figures import By, Counts, Line, Period
from voiceguard.review.figures import as_csv, bars
from voiceguard.store import calls, decisions, migrate, people, retention, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.decisions import Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.people import Role
from voiceguard.store.recordings import Recordings
from voiceguard.verdict import Verdict

CONFIRM = Choice(Action.CONFIRM, "synthetic_heard", "Even rhythm.")
DISMISS = Choice(Action.DISMISS, "person_heard", "Breathes.")
YEARS = Period(dt.date(2024, 1, 1), dt.date(2026, 12, 31))
PARTS = {
    By.DAY: lambda row: row.received_at.date().isoformat(),
    By.MONTH: lambda row: row.received_at.date().isoformat()[:7],
    By.YEAR: lambda row: str(row.received_at.year),
    By.PROVIDER: lambda row: row.upstream_provider or row.carrier,
    By.ATTESTATION: lambda row: (row.attestation or {}).get("level") or "none",
    By.CAMPAIGN: lambda row: row.campaign_id,
}


def plainly(engine: sa.Engine, by: By, period: Period, carrier_id: str | None = None) -> dict[str, Counts]:
    """Count every call one by one."""
    query = sa.select(
        schema.calls,
        schema.carriers.c.name.label("carrier"),
        schema.screenings.c.verdict,
        schema.reviews.c.outcome,
    ).select_from(schema.calls.join(schema.screenings).join(schema.carriers).outerjoin(schema.reviews))
    found: dict[str, list[int]] = {}
    with reading(engine) as connection:
        for row in connection.execute(query):
            at = (row.started_at if by is By.CAMPAIGN else row.received_at).date()
            if not period.first <= at <= period.last or carrier_id not in (None, row.carrier_id):
                continue
            counts = found.setdefault(PARTS[by](row), [0] * 5)
            flagged = row.verdict == "synthetic"
            hits = (
                True,
                flagged,
                flagged and row.outcome == "confirmed",
                flagged and row.outcome == "dismissed",
                not flagged and row.outcome == "confirmed",
            )
            for index, hit in enumerate(hits):
                counts[index] += hit
    return {name: Counts(*counts) for name, counts in found.items()}


def told(engine: sa.Engine, by: By, period: Period, carrier_id: str | None = None) -> dict[str, Counts]:
    with reading(engine) as connection:
        lines = figures.table(connection, by, period, carrier_id=carrier_id)
    return {line.name: Counts(*(getattr(line.counts, name) for name in figures.COUNTED)) for line in lines}


def test_each_number_equals_a_plain_querys(engine: sa.Engine) -> None:
    fill(engine, 3000)
    month = Period(dt.date(2026, 5, 10), dt.date(2026, 8, 4))
    for period in (YEARS, month):
        for by in By:
            if by is By.DAY and period is YEARS:
                continue
            plain, found = plainly(engine, by, period), told(engine, by, period)
            if by is not By.CAMPAIGN:  # of which the page shows the largest
                assert set(plain) <= set(found)
            assert found, by
            for name, counts in found.items():
                assert counts == plain.get(name, Counts()), (by, name)
        assert told(engine, By.PROVIDER, period, "carrier_1") == plainly(
            engine, By.PROVIDER, period, "carrier_1"
        )
        with reading(engine) as connection:
            months = figures.table(connection, By.MONTH, period)
            total = figures.total(connection, period, months)
            begun = connection.scalar(
                sa.select(sa.func.count())
                .select_from(schema.campaigns)
                .where(
                    schema.campaigns.c.calls > 1,
                    schema.campaigns.c.first_seen_at >= dt.datetime.combine(period.first, dt.time(), dt.UTC),
                    schema.campaigns.c.first_seen_at
                    < dt.datetime.combine(period.last, dt.time(), dt.UTC) + dt.timedelta(days=1),
                )
            )
        assert total.campaigns == begun == sum(line.counts.campaigns or 0 for line in months)
        assert total.flagged == sum(line.counts.flagged for line in months) > 0
    for today in (dt.date(2026, 10, 31), dt.date(2026, 3, 31), dt.date(2026, 7, 6)):
        with reading(engine) as connection:
            found = figures.compared(connection, today)
        for one in found:
            for period, counts in ((one.period, one.counts), *one.before):
                plain = plainly(engine, By.YEAR, period).get(str(period.last.year), Counts())
                assert [getattr(counts, name) for name in figures.COUNTED] == [
                    getattr(plain, name) for name in figures.COUNTED
                ], (today, period)


def test_they_follow_decisions_and_outlive_calls(engine: sa.Engine, tmp_path: Path) -> None:
    recordings = Recordings(str(tmp_path / "recordings"), tmp_path / "data")
    ann = people.create(engine, "ann", Role.SUPERVISOR, password="x" * 12).user
    day = Period(NOW.date(), NOW.date())
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    with writing(engine) as connection:
        campaign_seq, campaign_id = 1, "campaign_" + "0" * 32
        connection.execute(
            sa.insert(schema.campaigns).values(seq=campaign_seq, id=campaign_id, created_at=NOW, calls=3)
        )
        for number, verdict in enumerate((Verdict.SYNTHETIC, Verdict.SYNTHETIC, Verdict.HUMAN)):
            call = NewCall(
                id=f"call_{number:032x}",
                carrier_id="carrier_1",
                started_at=NOW,
                received_at=NOW,
                attestation={"level": "B"},
                upstream_provider="Upstream",
            )
            screening = screening_of(keep(recordings, bytes([number])), verdict)
            calls.claim(connection, recordings, screening)
            calls.insert_claimed(connection, call, screening, campaign_id=campaign_id)
            decisions.enrol(connection, call.id, screening, random_share=0.0)

    def now() -> tuple[int, ...]:
        (found,) = told(engine, By.PROVIDER, day).values()
        plain = plainly(engine, By.PROVIDER, day)["Upstream"]
        assert found == plain
        return (found.screened, found.flagged, found.confirmed, found.overturned, found.missed)

    def decide(number: int, choice: Choice, version: int) -> int:
        made = deciding.decide(
            engine, f"call_{number:032x}", choice, ann, seen_version=version, second_share=0.0, now=NOW
        )
        return made.seq

    assert now() == (3, 2, 0, 0, 0)
    decide(0, CONFIRM, 0)
    assert now() == (3, 2, 1, 0, 0)
    seq = decide(0, DISMISS, 1)
    assert now() == (3, 2, 0, 1, 0)
    deciding.undo(engine, seq, ann, NOW)
    assert now() == (3, 2, 0, 0, 0)
    batch, count = deciding.decide_campaign(engine, campaign_id, CONFIRM, ann, seen_version=0, now=NOW)
    assert (count, now()) == (3, (3, 2, 2, 0, 1))
    deciding.undo(engine, batch, ann, NOW)
    assert now() == (3, 2, 0, 0, 0)
    decide(0, CONFIRM, 5)
    assert now() == (3, 2, 1, 0, 0)
    assert retention.delete_call(engine, recordings, f"call_{0:032x}", actor="retention", reason="test")
    (kept,) = told(engine, By.PROVIDER, day).values()
    assert kept == Counts(3, 2, 1, 0, 0)


def test_the_migration_counts_what_is_there(engine: sa.Engine) -> None:
    fill(engine, 500)
    with reading(engine) as connection:
        columns = schema.review_schema.figures
        before = connection.execute(sa.select(columns).order_by(*columns.primary_key)).all()
        levels = dict(connection.execute(sa.select(schema.calls.c.seq, schema.calls.c.level)).all())
    migrate.downgrade(engine, "0006")
    migrate.upgrade(engine)
    with reading(engine) as connection:
        assert connection.execute(sa.select(columns).order_by(*columns.primary_key)).all() == before
        assert dict(connection.execute(sa.select(schema.calls.c.seq, schema.calls.c.level)).all()) == levels


@given(st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1)))
def test_a_period_is_held_against_one_no_longer(today: dt.date) -> None:
    for now, *before in figures.comparisons(today).values():
        for other in before:
            assert other.first <= other.last < now.first
            assert other.last - other.first <= now.last - now.first + dt.timedelta(days=1)


@given(
    st.none() | st.dates(),
    st.none() | st.dates(),
    st.sampled_from(By),
    st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1)),
)
def test_a_period_is_short_enough_to_show_or_refused(
    first: dt.date | None, last: dt.date | None, by: By, today: dt.date
) -> None:
    period = None
    with contextlib.suppress(ValueError):
        period = figures.period_of(first, last, by, today)
    if period is None:
        assert first is not None or last is not None
    else:
        assert period.first <= period.last <= (last or today)


def test_csv_computes_nothing_and_bars_fit() -> None:
    lines = [Line("=cmd|' /C calc'!A0", Counts(9, 4, 1, 1)), Line("Prairie, Voice", Counts())]
    rows = list(csv.DictReader(io.StringIO(as_csv(By.PROVIDER, lines))))
    assert [row["provider"] for row in rows] == ["'=cmd|' /C calc'!A0", "Prairie, Voice"]
    assert (rows[0]["screened"], rows[0]["flagged"], rows[1]["notices_sent"]) == ("9", "4", "")
    drawn = bars(lines)
    assert drawn[0].confirmed + drawn[0].overturned + drawn[0].waiting == pytest.approx(1)
    assert drawn[1].screened == 0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, flagged: bytes) -> Any:
    with running(tmp_path_factory.mktemp("figures")) as desk:
        desk.call(flagged, upstream_provider="Prairie, Voice")
        yield desk


def test_page_and_csv(own: Desk) -> None:
    ann = own.signed_in("ann")
    page = ann.get("/review/figures?by=day")
    assert page.status_code == 200
    assert "Prairie, Voice" in page.text
    answer = ann.get("/review/figures.csv?by=provider")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["provider"], row["screened"], row["flagged"]) == ("Prairie, Voice", "1", "1")
    assert "attachment" in answer.headers["content-disposition"]
    for query in ("first=2026-02-30", "first=2026-02-02&last=2026-02-01", "by=day&first=1980-01-01"):
        assert ann.get(f"/review/figures?{query}").status_code == 422, query
    assert "The first call came" in ann.get("/review/figures?first=2001-01-01&last=2001-02-01").text


def test_a_carrier_reads_its_own_figures(own: Desk) -> None:
    mine = own.api.get("/v1/figures?by=attestation")
    assert mine.status_code == 200
    (line,) = mine.json()["data"]
    assert (line["name"], line["screened"], line["flagged"], line["notices_sent"]) == ("none", 1, 1, None)
    other = own.api.get("/v1/figures?by=attestation", key=own.api.key(carrier="Another"))
    assert other.json()["data"] == []
    refused = own.api.get("/v1/figures?first=2026-02-02&last=2026-02-01")
    assert refused.status_code == 422
