"""The command ``model``: which detector is loaded, and how wrong it is known to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

model_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The detector.")


@model_app.callback()
def _options() -> None:
    """Show and check the detector."""


@model_app.command()
def show(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The detector's folder, or light.  [default: VOICEGUARD_MODEL, else the shipped one]"
        ),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Print the whole model card with its evaluation.")
    ] = False,
) -> None:
    """Show the detector: its name, hash, thresholds and calibration; checks its files."""
    from voiceguard.detector import Detector, default_model_dir
    from voiceguard.errors import ModelError

    found = default_model_dir(folder)
    try:
        record = Detector(found).record
    except ModelError as error:
        typer.echo(f"voiceguard: {error}\n{error.remedy}", err=True)
        raise typer.Exit(1) from error
    if card:
        typer.echo((found / "CARD.md").read_text())
        return
    calibration = record.calibration
    typer.echo(f"model           {record.id}")
    typer.echo(f"features        {record.features}")
    typer.echo(f"graph SHA-256   {record.graph_sha256}")
    if record.network is not None:
        typer.echo(f"network SHA-256 {record.network.graph_sha256}")
    typer.echo(f"synthetic from  {calibration.flag_threshold:+.2f}  (natural-log likelihood ratio)")
    typer.echo(f"review from     {calibration.review_threshold:+.2f}")
    typer.echo(f"human up to     {calibration.clear_threshold:+.2f}")
    typer.echo(f"least speech    {calibration.min_speech_s:.0f} s")
    typer.echo(f"prior           {calibration.prior:.0%} synthetic")
    typer.echo(f"card            {found / 'CARD.md'}")
