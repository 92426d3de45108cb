"""``voiceguard case``: list cases, take one along as an archive, import one; on the database, for operators."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from voiceguard.console import console, visible
from voiceguard.enforcement.opening import WRONG_USE, fail, opened

case_app = typer.Typer(
    help="Cases: what enforcement builds of calls and campaigns.", no_args_is_help=True, rich_markup_mode=None
)


@case_app.command("list")
def list_cases(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most cases to print.")] = 50,
) -> None:
    """List the cases, latest first."""
    from voiceguard.store import cases
    from voiceguard.store.engine import reading

    with opened() as (engine, _), reading(engine) as connection:
        found = cases.page(connection, state=None, limit=limit)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("number", "id", "title", "state", "owner", "notices", "waiting"):
        table.add_column(name, no_wrap=name in ("number", "id"))
    for one in found:
        case = one.case
        table.add_row(
            case.number,
            case.id,
            visible(case.title),
            case.outcome or case.state,
            one.owner or "",
            str(one.notices),
            str(one.waiting),
        )
    console().print(table)


@case_app.command("export")
def export(
    case: Annotated[str, typer.Argument(metavar="CASE", help="Its number or id.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.zip", help="Where the archive goes.")
    ],
) -> None:
    """Write a case with its recordings and files as one signed archive."""
    from voiceguard.enforcement import transfer
    from voiceguard.store import audit, signing
    from voiceguard.store.recordings import Recordings

    part = output.with_name(f".{output.name}.part")
    with opened() as (engine, settings):
        recordings = Recordings(settings.recordings_url, settings.data_dir)
        try:
            with part.open("wb") as file:
                key = signing.open_key(settings)
                transfer.export_case(engine, recordings, key, case, file, actor=audit.operator())
            part.replace(output)
        except OSError as error:
            fail(f"can't write {output}: {error.strerror or error}", WRONG_USE)
        finally:
            part.unlink(missing_ok=True)
        typer.echo(f"{output}, signed by the key {key.public.fingerprint}")


@case_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The archive.")],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FINGERPRINT", help="Key that must have signed it; ask the sender on another way."
        ),
    ] = None,
) -> None:
    """Make a case of an archive that another VoiceGuard wrote."""
    from voiceguard.audio import Limits
    from voiceguard.enforcement import transfer
    from voiceguard.store import audit
    from voiceguard.store.recordings import Recordings

    with opened() as (engine, settings):
        made = transfer.import_case(
            engine,
            Recordings(settings.recordings_url, settings.data_dir),
            file,
            limits=Limits(max_bytes=settings.max_upload_bytes, max_duration_s=settings.max_duration_s),
            signed_by=key,
            random_share=settings.review_random_share,
            actor=audit.operator(),
            now=dt.datetime.now(dt.UTC),
        )
    typer.echo(f"{made.number} {made.case_id}")
    typer.echo(
        f"{made.calls} calls are new, {made.known_calls} were here; signed by the key {made.signed_by}",
        err=True,
    )
