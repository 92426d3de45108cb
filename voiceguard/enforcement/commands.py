"""``voiceguard campaign``: list, show, split, merge, and teach announcements; on the database, for operators."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from voiceguard.console import console, signed, visible
from voiceguard.enforcement import changes
from voiceguard.enforcement.opening import WRONG_USE, fail, opened
from voiceguard.store import audit, calls, campaign_views, cursors
from voiceguard.store.campaign_views import Campaign, Filter
from voiceguard.store.engine import reading
from voiceguard.verdict import Verdict

campaign_app = typer.Typer(
    help="Campaigns: calls that carry the same recording.", no_args_is_help=True, rich_markup_mode=None
)

_COPIES_SHOWN = 20

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str | None, typer.Option("--by", help="Who decided, for the history; by default you.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.")]


@campaign_app.command("list")
def list_campaigns(
    verdict: Annotated[Verdict | None, typer.Option(help="Only those with this verdict.")] = None,
    min_calls: Annotated[int, typer.Option(min=1, help="Only those with so many calls.")] = 2,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most campaigns to print.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List campaigns of all carriers, the latest to begin first."""
    try:
        before_seq = cursors.decode(cursor) if cursor is not None else None
    except ValueError as error:
        fail(str(error), WRONG_USE)
    wanted = Filter(verdict=verdict, least_calls=min_calls)
    with opened() as (engine, _), reading(engine) as connection:
        found = campaign_views.page(connection, wanted, before_seq=before_seq, limit=limit + 1)
    shown = found[:limit]
    following = cursors.encode(shown[-1].seq) if len(found) > limit else None
    if as_json:
        typer.echo(
            json.dumps({"data": [_document(one) for one in shown], "next_cursor": following}, indent=2)
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("campaign", "calls", "copies", "carriers", "callers", "verdict", "score", "first", "last"):
        table.add_column(name, no_wrap=name == "campaign")
    for one in shown:
        table.add_row(
            one.id,
            str(one.calls),
            str(one.spread.copies),
            str(one.carriers),
            str(one.callers),
            one.verdict or "",
            "" if one.score is None else signed(one.score),
            _minute(one.first_seen_at),
            _minute(one.last_seen_at),
        )
    console().print(table)
    if following:
        typer.echo(f"More: --cursor {following}")


@campaign_app.command("show")
def show(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's id.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most calls to print.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show a campaign with its copies, its latest calls and its history."""
    with opened() as (engine, _), reading(engine) as connection:
        found = campaign_views.get(connection, campaign)
        if found is None:
            fail(f"Expected a campaign's id, got {campaign}.")
        copies = campaign_views.copies(connection, found.seq, limit=_COPIES_SHOWN)
        history = campaign_views.history(connection, found.seq)
        latest = calls.page(connection, calls.Filter(campaign_id=found.id), before_seq=None, limit=limit)
    if as_json:
        document = _document(found) | {
            "copies": [_plain(one) for one in copies],
            "history": [_plain(one) for one in history],
            "calls_shown": [
                {
                    "id": call.id,
                    "caller": call.caller,
                    "callee": call.callee,
                    "started_at": str(call.started_at),
                }
                for call, _ in latest
            ],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    out = console()
    if found.id != campaign:
        out.print(f"{campaign} was merged into {found.id}.")
    out.print(
        f"{found.id}: {found.calls} calls, {_minute(found.first_seen_at)} to {_minute(found.last_seen_at)}"
    )
    out.print(f"{found.carriers} carriers, {found.callers} callers, {found.callees} callees")
    if found.verdict is not None:
        score = "" if found.score is None else f", score {signed(found.score)}"
        spread = found.spread
        if spread.lowest is not None and spread.highest is not None and spread.copies > 1:
            score += f" ({signed(spread.lowest)} to {signed(spread.highest)} over {spread.copies} copies)"
        out.print(f"{found.verdict}{score}; {'prerecorded' if found.prerecorded else 'one call only'}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("recording", "quality", "speech", "codec", "verdict", "score", "first call"):
        table.add_column(name, no_wrap=name == "recording")
    for one in copies:
        score = "" if one.score is None else signed(one.score)
        table.add_row(
            one.sha256,
            f"{one.quality:.2f}",
            f"{one.speech_s:.1f} s",
            one.codec,
            one.verdict,
            score,
            one.call_id or "",
        )
    out.print(table)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("call", "started", "caller", "callee", "verdict"):
        table.add_column(name, no_wrap=name == "call")
    for call, screening in latest:
        table.add_row(
            call.id,
            _minute(call.started_at),
            call.caller or "",
            call.callee or "",
            screening.decision.verdict,
        )
    out.print(table)
    for event in history:
        other = f" {event.other_id}" if event.other_id else ""
        out.print(
            f"{_minute(event.at)} {visible(event.actor)}: {event.action} {event.campaign_id}{other}:"
            f" {visible(event.reason)}",
            markup=False,
        )


@campaign_app.command("merge")
def merge(
    campaigns: Annotated[list[str], typer.Argument(metavar="CAMPAIGN", help="Two ids or more.")],
    reason: Reason,
    by: By = None,
) -> None:
    """Make several campaigns one; the oldest id survives and the others go on answering."""
    with opened() as (engine, _):
        survivor = changes.merge(engine, campaigns, actor=by or audit.operator(), reason=reason, now=_now())
    typer.echo(survivor)


@campaign_app.command("split")
def split(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's id.")],
    out: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING", help="What goes: SHA-256 of recordings, or ids of calls that carry them."
        ),
    ],
    reason: Reason,
    by: By = None,
) -> None:
    """Move some recordings, with all their calls, into a campaign of their own, which stays apart."""
    with opened() as (engine, _):
        new_id = changes.split(engine, campaign, out, actor=by or audit.operator(), reason=reason, now=_now())
    typer.echo(new_id)


@campaign_app.command("announce")
def announce(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A recording of the announcement alone.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What calls will say; by default the file's name.")] = None,
    forget: Annotated[str | None, typer.Option(metavar="NAME", help="Forget this announcement.")] = None,
    by: By = None,
) -> None:
    """Teach a network's own announcement, so that it makes no campaign; without FILE, list what is known."""
    with opened() as (engine, _):
        if forget is not None:
            if not changes.forget(engine, forget, actor=by or audit.operator()):
                fail(f"Expected the name of a known announcement, got {forget}.")
            typer.echo(f"Forgot {forget}.")
        elif file is None:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for column in ("announcement", "speech", "taught", "by"):
                table.add_column(column)
            for one in changes.announcements(engine):
                table.add_row(visible(one.name), f"{one.speech_s:.1f} s", _minute(one.taught_at), one.actor)
            console().print(table)
        else:
            moved = changes.teach(
                engine, name or file.name, _print_of(file), actor=by or audit.operator(), now=_now()
            )
            typer.echo(f"Taught {name or file.name}; {moved} stored recordings are it.")


def _print_of(file: Path) -> Any:
    from voiceguard.audio import decode
    from voiceguard.fingerprint import compute
    from voiceguard.vad import speech_frames

    if not file.is_file():
        fail(f"No such file: {file}", WRONG_USE)
    samples = decode(file).channels[0]
    return compute(samples, speech_frames(samples))


def _document(campaign: Campaign) -> dict[str, Any]:
    document = _plain(campaign) | {"prerecorded": campaign.prerecorded}
    for name in ("seq", "own_calls"):
        del document[name]
    return document


def _plain(record: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record), default=str))
    return plain


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _minute(moment: dt.datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else ""
