"""A scan's result for people: the rows when they are few, and the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voiceguard.archive.rows import Row
from voiceguard.archive.scan import Tally
from voiceguard.console import VERDICT_STYLES, signed, visible

if TYPE_CHECKING:
    from voiceguard.archive.importing import Imported


def rows_table(rows: list[Row]) -> Table:
    """Lay out a table of every recording and channel."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recording", overflow="fold")
    table.add_column("ch", justify="right")
    table.add_column("verdict")
    table.add_column("reason")
    table.add_column("score", justify="right")
    table.add_column("speech", justify="right")
    table.add_column("codec")
    if any(row.error for row in rows):
        table.add_column("error", overflow="fold")
    for row in rows:
        table.add_row(
            Text(visible(row.path)),
            "" if row.channel is None else str(row.channel),
            Text(row.verdict or "failed", style=VERDICT_STYLES.get(row.verdict or "", "magenta")),
            (row.reason or "").replace("_", " "),
            "" if row.score is None else signed(row.score),
            "" if row.speech_s is None else f"{row.speech_s:.1f} s",
            row.codec or "",
            *([Text(visible(row.error))] if row.error else []),
        )
    return table


def summary(
    tally: Tally, elapsed_s: float, output: str | None, imported: Imported | None = None
) -> RenderableType:
    """Lay out what was found, in numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("verdict")
    table.add_column("recordings", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for verdict in ("synthetic", "human", "inconclusive", None):
        count = tally.verdicts[verdict]
        details = {"inconclusive": tally.reasons, None: tally.errors}.get(verdict)
        if verdict is None and not count:
            continue
        table.add_row(
            Text(verdict or "failed", style=VERDICT_STYLES.get(verdict or "", "magenta")),
            f"{count:,}",
            f"{count / max(tally.recordings, 1):.1%}",
            ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in details.most_common())
            if details
            else "",
        )
    lines = [
        f"{tally.recordings:,} recordings, {_hours(tally.audio_s)} of audio with"
        f" {_hours(tally.speech_s)} of speech, in {elapsed_s:,.1f} s",
    ]
    if output is not None:
        lines.append(f"Every row: {output}")
    if imported is not None:
        beside = {
            "were there before": imported.known,
            "could not be screened": imported.failed,
            "have changed since": imported.changed,
        }
        rest = "".join(f"; {count:,} {what}" for what, count in beside.items() if count)
        lines.append(f"Imported {imported.added:,} recordings as calls{rest}.")
    return Group(Text(), table, Text(), *(Text(visible(line)) for line in lines))


def _hours(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
