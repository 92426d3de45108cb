"""The cross-fold figures as pictures: trade-off, reliability, distribution, error by length."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats

from voiceguard.training import metrics
from voiceguard.training.corpus import Corpus
from voiceguard.training.crossfold import CrossFold
from voiceguard.training.report import JOININGS, LENGTHS_S, Scored, cross_fitted, score_calls, score_clips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_BINS = 12
# Okabe and Ito's colours, which people with any kind of colour vision tell apart; lines differ in style too.
_BLUE, _ORANGE, _VERMILION, _GREY = "#0072B2", "#E69F00", "#D55E00", "#555555"


def draw_report(corpus: Corpus, result: CrossFold, path: Path) -> None:
    """Save one PNG picture of four plots, all of wild pages.

    Trade-off: misses against false positives on normal-deviate axes (Martin et al., Eurospeech 1997), for clips by
    plain phone and through hard channels and for 24 s calls. Reliability: what a score says against what it is
    worth, in bins of equal count. Distribution: scores of human and synthetic clips with the thresholds. Length:
    equal error rate against seconds of speech.
    """
    from matplotlib.figure import Figure

    calibrations = cross_fitted(corpus, result)
    plain = _wild(corpus, score_clips(corpus, result, "plain", calibrations))
    hard = _wild(corpus, score_clips(corpus, result, "hard", calibrations))
    calls = _wild(corpus, score_calls(corpus, result, "plain", 24.0, calibrations))
    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    trade_off, reliability, distribution, length = figure.subplots(2, 2).ravel()
    for scored, name, colour, style in (
        (plain, "clips of 3–4 s, plain phone", _BLUE, "-"),
        (hard, "clips of 3–4 s, hard channel", _VERMILION, "--"),
        (calls, "calls of 24 s, plain phone", _ORANGE, "-."),
    ):
        _draw_trade_off(trade_off, scored, name, colour, style)
    _finish_trade_off(trade_off)
    _draw_reliability(reliability, plain)
    flag = float(np.median([one.flag_threshold for one in calibrations.values()]))
    _draw_distribution(distribution, plain, flag)
    for name, colour, style in (("plain", _BLUE, "o-"), ("hard", _VERMILION, "s--")):
        errors = [
            [
                metrics.equal_error_rate(
                    *_split(_wild(corpus, score_calls(corpus, result, name, target_s, calibrations, seed)))
                )
                for seed in range(JOININGS)
            ]
            for target_s in LENGTHS_S
        ]
        length.plot(LENGTHS_S, 100 * np.mean(errors, axis=1), style, color=colour, label=name)
    length.set(
        title="Longer speech",
        xlabel="seconds of speech, at least",
        ylabel="equal error rate, %",
        xscale="log",
    )
    length.set_xticks(LENGTHS_S, [f"{one:g}" for one in LENGTHS_S])
    length.minorticks_off()
    length.set_ylim(0)
    for axes in (trade_off, reliability, distribution, length):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _wild(corpus: Corpus, scored: Scored) -> Scored:
    keep = (corpus.column("source") == "wild")[scored.first]
    return Scored(*(column[keep] for column in vars(scored).values()))


def _split(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
    return scored.score[~scored.synthetic], scored.score[scored.synthetic]


def _draw_trade_off(axes: Axes, scored: Scored, name: str, colour: str, style: str) -> None:
    human, synthetic = _split(scored)
    thresholds = np.unique(scored.score)
    alarms = 1 - np.searchsorted(np.sort(human), thresholds) / len(human)
    misses = np.searchsorted(np.sort(synthetic), thresholds) / len(synthetic)
    shown = (alarms > 0) & (misses > 0) & (alarms < 1) & (misses < 1)
    deviate = scipy.stats.norm.ppf
    axes.plot(deviate(alarms[shown]), deviate(misses[shown]), style, color=colour, label=name)


def _finish_trade_off(axes: Axes) -> None:
    ticks = scipy.stats.norm.ppf(_TICKS)
    labels = [f"{100 * tick:g}" for tick in _TICKS]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set(xlim=(ticks[0], ticks[-3]), ylim=(ticks[1], scipy.stats.norm.ppf(0.98)))
    axes.plot(ticks, ticks, ":", color=_GREY, linewidth=1)
    axes.set(title="Trade-off (DET)", xlabel="human speech flagged, %", ylabel="synthetic speech missed, %")


def _draw_reliability(axes: Axes, scored: Scored) -> None:
    """Draw the observed log-likelihood ratio of each bin of scores, with a 95 % interval."""
    human, synthetic = _split(scored)
    edges = np.quantile(scored.score, np.linspace(0, 1, _BINS + 1))
    edges[-1] += 1e-9
    said, found, spreads = [], [], []
    for start, end in itertools.pairwise(edges):
        inside = (scored.score >= start) & (scored.score < end)
        ours = int((inside & scored.synthetic).sum())
        theirs = int((inside & ~scored.synthetic).sum())
        # Half a count more in each cell keeps empty ones finite (Haldane's correction).
        ratio = np.log((ours + 0.5) / (len(synthetic) + 0.5) / ((theirs + 0.5) / (len(human) + 0.5)))
        spread = 1.96 * np.sqrt(1 / (ours + 0.5) + 1 / (theirs + 0.5))
        said.append(float(scored.score[inside].mean()))
        found.append(ratio)
        spreads.append(spread)
    axes.errorbar(said, found, spreads, fmt="o", color=_BLUE, capsize=3, label="clips, plain phone")
    span = [min(said), max(said)]
    axes.plot(span, span, ":", color=_GREY, label="as it says")
    axes.set(title="Reliability", xlabel="score", ylabel="log-likelihood ratio found")


def _draw_distribution(axes: Axes, scored: Scored, flag: float) -> None:
    human, synthetic = _split(scored)
    bins = np.linspace(scored.score.min(), scored.score.max(), 50).tolist()
    axes.hist(human, bins, density=True, color=_BLUE, alpha=0.6, label="human")
    axes.hist(
        synthetic, bins, density=True, histtype="step", color=_VERMILION, linewidth=1.8, label="synthetic"
    )
    axes.axvline(flag, color=_GREY, linestyle="--", label=f"flag, {flag:.1f}")
    axes.set(title="Scores of clips, plain phone", xlabel="score", ylabel="density")
