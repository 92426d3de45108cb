"""Results for people at a terminal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from voiceguard.verdict import Reason, Verdict

if TYPE_CHECKING:
    from voiceguard.evidence.cue_ranges import CueRanges, Range
    from voiceguard.evidence.cues import Cues
    from voiceguard.explanation import CueWeight
    from voiceguard.screening import ChannelScreening, Screening

VERDICT_STYLES = {"synthetic": "bold red", "human": "green", "inconclusive": "yellow"}
_WIDTH_WITHOUT_TERMINAL = 160
_BAR_CELLS = 48
_WINDOWS_SHOWN = 40
_WEIGHTS_SHOWN = 6
_SAYS_NOTHING = 0.1
"""A score closer to 0 than this is not worth words."""

_VERDICTS = {Verdict.SYNTHETIC: "Synthetic voice likely", Verdict.HUMAN: "Human voice likely"}
_REASONS = {
    Reason.NO_SPEECH: "No verdict: there is no speech in it",
    Reason.TOO_LITTLE_SPEECH: "No verdict: there is too little speech in it",
    Reason.POOR_QUALITY: "No verdict: the audio is too poor",
    Reason.NEAR_THRESHOLD: "No verdict: the score is near the threshold",
}


def console() -> Console:
    """Return standard output: as wide as the terminal, and wide enough for a table where there is none."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def visible(text: str) -> str:
    """Make text safe for a terminal: what strangers wrote, such as a file name, must not steer it."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def signed(score: float) -> str:
    """Write a score with its sign and two decimals; what rounds to zero is +0.00."""
    return f"{round(score, 2) + 0.0:+.2f}"


def in_words(channel: ChannelScreening, screening: Screening) -> str:
    """Say a channel's verdict in one sentence, without a word on the law."""
    if channel.reason is None:
        return f"{_VERDICTS[channel.verdict]}."
    advice = ""
    if channel.score is not None and channel.score >= screening.review_threshold:
        advice = "; a person should listen"
    return f"{_REASONS[channel.reason]}{advice}."


def screening_document(
    name: str, screening: Screening, cues: Iterable[Cues], weights: Iterable[tuple[CueWeight, ...]]
) -> dict[str, Any]:
    """Return everything about a screening, ready for JSON.

    The fields are those of :class:`Screening`, with the file's name, the deciding channel's verdict, and in
    each channel the verdict in words, the acoustic cues and what moved the score.
    """
    document = dataclasses.asdict(screening)
    for fields, channel, found, moved in zip(
        document["channels"], screening.channels, cues, weights, strict=True
    ):
        fields["in_words"] = in_words(channel, screening)
        fields["cues"] = dataclasses.asdict(found)
        fields["weights"] = [dataclasses.asdict(one) for one in moved]
    decision = screening.decision
    head = {"file": name, "verdict": decision.verdict, "reason": decision.reason, "score": decision.score}
    return head | {"in_words": in_words(decision, screening)} | document


def screening_view(name: str, screening: Screening) -> RenderableType:
    """Lay out a screening: the verdict first, then what it rests on."""
    decision = screening.decision
    parts: list[RenderableType] = [
        Text(visible(name), style="bold"),
        Text(in_words(decision, screening), style=VERDICT_STYLES[decision.verdict]),
    ]
    if decision.score is not None:
        parts.append(Text(_score_in_words(decision.score)))
    if len(screening.channels) > 1:
        parts.append(Text(f"Channel {decision.channel} of {len(screening.channels)} decides."))
    for channel in screening.channels:
        parts.append(Text())
        if len(screening.channels) > 1:
            parts.append(Text(f"Channel {channel.channel}: {in_words(channel, screening)}", style="bold"))
        if channel.windows:
            parts += [_timeline(channel, screening), Text()]
        parts.append(_quality(channel, screening))
    parts.append(Text())
    parts.append(
        Text(
            f"Model {screening.model}. Scores from {signed(screening.threshold)} are flagged: at most 0.1 % of "
            f"the human speech in its evaluation. From {signed(screening.review_threshold)}, at most 1 %, a "
            "person should listen.",
            style="dim",
        )
    )
    return Group(*parts)


def cues_view(cues: Iterable[Cues], ranges: CueRanges | None = None) -> RenderableType:
    """Lay out the acoustic cues, a column a channel, beside the ranges that human and synthetic speech have."""
    from voiceguard.evidence.cues import readings

    columns = list(cues)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Acoustic cues")
    for index in range(len(columns)):
        table.add_column(f"channel {index}" if len(columns) > 1 else "", justify="right")
    table.add_column("")
    if ranges is not None:
        table.add_column("human speech", justify="right")
        table.add_column("synthetic speech", justify="right")
    for row in zip(*(readings(found) for found in columns), strict=True):
        values = ["–" if reading.value is None else f"{reading.value:.4g}" for reading in row]
        told = []
        if ranges is not None:
            told = [_range(one.get(row[0].name)) for one in (ranges.human, ranges.synthetic)]
        table.add_row(row[0].label, *values, row[0].unit, *told)
    note = "Cues help a person to listen; the verdict does not rest on them, and none proves anything alone."
    if ranges is not None:
        note += f" Ranges hold nine of ten clips of 3 to 4 s over a {ranges.line}."
    return Group(table, Text(note, style="dim"))


def _range(found: Range | None) -> str:
    return f"{found.low:.3g} to {found.high:.3g}" if found is not None else "–"


def weights_view(weights: Iterable[CueWeight]) -> RenderableType:
    """Lay out what moved the score, the heaviest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("What moved the score")
    table.add_column("by", justify="right")
    table.add_column("in human speech", justify="right")
    for cue in list(weights)[:_WEIGHTS_SHOWN]:
        usual = cue.human_low <= cue.weight <= cue.human_high
        table.add_row(
            cue.label,
            Text(signed(cue.weight), style="" if usual else "bold"),
            f"{signed(cue.human_low)} to {signed(cue.human_high)}",
        )
    note = (
        "How far the score would fall with this cue as in mean human speech; the range holds 90 % of unheard human "
        "speech. Families overlap, so the weights don't add up to the score."
    )
    return Group(table, Text(note, style="dim"))


def _score_in_words(score: float) -> str:
    if abs(score) < _SAYS_NOTHING:
        return f"Score {signed(score)}: the audio says nothing either way."
    likelier, other = ("synthetic", "human") if score > 0 else ("human", "synthetic")
    ratio = math.exp(abs(score))
    times = f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
    return f"Score {signed(score)}: {times} times likelier from a {likelier} voice than from a {other} one."


def _timeline(channel: ChannelScreening, screening: Screening) -> Table:
    """Lay out the windows with a bar each, and the thresholds across them."""
    flag, review = screening.threshold, screening.review_threshold
    windows = channel.windows
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Speech", justify="right")
    table.add_column("score", justify="right")
    table.add_column(f"┊ review {signed(review)}  │ flag {signed(flag)}", no_wrap=True)
    if len(windows) > _WINDOWS_SHOWN:
        lowest = sorted(window.score for window in windows)[-_WINDOWS_SHOWN]
        windows = tuple(window for window in windows if window.score >= lowest)[:_WINDOWS_SHOWN]
        table.caption = f"The {len(windows)} highest of {len(channel.windows)} windows; --json has them all."
        table.caption_justify = "left"
    values = [0.0, flag, review, *(window.score for window in windows)]
    low, high = min(values), max(values) + 0.05 * (max(values) - min(values))
    for window in windows:
        cells = _bar(window.score, low, high, flag, review)
        style = "red" if window.score >= flag else "yellow" if window.score >= review else "blue"
        table.add_row(
            f"{_clock(window.start_s)}–{_clock(window.end_s)}", signed(window.score), Text(cells, style=style)
        )
    return table


def _bar(score: float, low: float, high: float, flag: float, review: float) -> str:
    """Draw one bar from 0 to the score on a scale from low to high."""

    def cell(value: float) -> int:
        return round((value - low) / (high - low) * (_BAR_CELLS - 1))

    cells = [" "] * _BAR_CELLS
    cells[cell(review)], cells[cell(flag)] = "┊", "│"
    start, end = sorted((cell(0.0), cell(score)))
    cells[start : end + 1] = "█" * (end + 1 - start)
    return "".join(cells)


def _quality(channel: ChannelScreening, screening: Screening) -> Table:
    quality = channel.quality
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Speech", f"{quality.speech_s:.1f} s of {screening.duration_s:.1f} s")
    table.add_row("Coded as", f"{screening.codec} in {screening.container}, {screening.rate_hz:,} Hz")
    if quality.speech_s:
        table.add_row("Speech up to", f"{quality.bandwidth_hz:,.0f} Hz")
        table.add_row("Level", f"{quality.level_db:.0f} dB below full scale".replace("-", ""))
        table.add_row("Speech over noise", f"{quality.snr_db:.0f} dB")
    table.add_row("Clipped", f"{quality.clipped_share:.2%} of samples")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
