"""What the cross-fold scores say: tables with intervals, for the model card and the terminal.

Thresholds and calibration are cross-fitted: those applied to a fold come from the other four, so no figure
here rests on a clip that set it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceguard.training import metrics
from voiceguard.training.calibrate import fit_calibration
from voiceguard.training.corpus import Corpus
from voiceguard.training.crossfold import CHANNELS, CrossFold, pseudo_calls
from voiceguard.training.metrics import Rate
from voiceguard.verdict import Calibration

LENGTHS_S = (2.0, 4.0, 8.0, 16.0, 24.0, 30.0)
JOININGS = 10
"""Random orders in which the clips of a voice are joined into calls."""
WORST_PAGES = 10
LEAST_FOR_A_ROW = 20
"""Groups with fewer clips of a class get no row."""


@dataclass(frozen=True)
class Row:
    """Figures of one group of calls or clips; NaN where a class is missing."""

    name: str
    human: int
    synthetic: int
    eer: float
    auc: float
    within_pages: float
    tpr_at_1_percent: float
    tpr_at_01_percent: float
    false_positives: Rate
    true_positives: Rate
    review_false_positives: Rate
    review_true_positives: Rate
    cllr: float
    minimum_cllr: float
    excess_by_chance: float
    """How far Cllr would lie above its minimum if the scores were perfectly calibrated; grows as calls get few."""


@dataclass(frozen=True)
class Report:
    """All tables, by title."""

    tables: dict[str, tuple[Row, ...]]

    def to_json(self) -> str:
        """Serialise, with each rate as count, total and interval."""
        return json.dumps(self.tables, default=vars, indent=1)

    def to_markdown(self) -> str:
        """Lay out as Markdown tables."""
        return "\n\n".join(_markdown(title, rows) for title, rows in self.tables.items()) + "\n"


@dataclass(frozen=True)
class Scored:
    """Clips or calls of one severity: calibrated scores, labels, and decisions at the cross-fitted thresholds."""

    score: np.ndarray
    raw: np.ndarray
    synthetic: np.ndarray
    flagged: np.ndarray
    reviewed: np.ndarray
    first: np.ndarray


def make_report(corpus: Corpus, result: CrossFold, prepared: Path) -> Report:
    """Compute every table from the out-of-fold scores; ``prepared`` holds the channels' records."""
    wild = corpus.column("source") == "wild"
    folds = corpus.column("fold")
    calibrations = cross_fitted(corpus, result)
    tables: dict[str, tuple[Row, ...]] = {}
    clips = {name: score_clips(corpus, result, name, calibrations) for name in CHANNELS}
    plain = clips["plain"]
    tables["Clips of 3–4 s from wild pages, by channel"] = tuple(
        _row(name, scored, corpus, wild[scored.first]) for name, scored in clips.items()
    )
    tables["Clips from wild pages, plain phone, by fold"] = tuple(
        _row(f"fold {fold}", plain, corpus, wild[plain.first] & (folds[plain.first] == fold))
        for fold in calibrations
    )
    tables["Calls joined from clips of one voice, wild pages, by seconds of speech"] = tuple(
        row
        for name in ("plain", "hard")
        for target_s in LENGTHS_S
        if (row := _calls_row(corpus, result, name, target_s, calibrations, wild)) is not None
    )
    tables["All human sources, plain phone"] = tuple(_groups(plain, corpus, corpus.column("source")))
    for title, column in (("kind", "kind"), ("language", "language"), ("year", "style")):
        tables[f"Wild pages, plain phone, by {title}"] = tuple(
            _groups(plain, corpus, corpus.column(column), wild, against_all=column == "kind")
        )
    tables["Wild pages, plain phone, by codec"] = tuple(_groups(plain, corpus, _codecs(prepared), wild))
    tables["Wild pages, hard channel, by noise"] = tuple(
        _groups(clips["hard"], corpus, _noises(prepared), wild)
    )
    tables["Pages told apart worst, plain phone"] = tuple(_worst_pages(plain, corpus, wild))
    return Report(tables)


def cross_fitted(corpus: Corpus, result: CrossFold) -> dict[int, Calibration]:
    """Fit a calibration for each fold on the other four."""
    folds = corpus.column("fold")
    return {int(fold): fit_calibration(corpus, result, keep=folds != fold) for fold in np.unique(folds)}


def score_clips(corpus: Corpus, result: CrossFold, name: str, calibrations: dict[int, Calibration]) -> Scored:
    """Score every clip through one severity with the calibration of its fold."""
    rows = np.flatnonzero(np.isfinite(result.scores[name]))
    return _decide(corpus, result.scores[name][rows], result.speech_s[name][rows], rows, calibrations)


def score_calls(
    corpus: Corpus,
    result: CrossFold,
    name: str,
    target_s: float,
    calibrations: dict[int, Calibration],
    seed: int = 0,
) -> Scored:
    """Score calls joined from clips of one voice, in an order of its own, with the calibration of its fold."""
    raw, seconds, _, first = pseudo_calls(
        corpus, result.scores[name], result.speech_s[name], target_s, np.random.default_rng(seed)
    )
    return _decide(corpus, raw, seconds, first, calibrations)


def _calls_row(
    corpus: Corpus,
    result: CrossFold,
    name: str,
    target_s: float,
    calibrations: dict[int, Calibration],
    wild: np.ndarray,
) -> Row | None:
    """Figures of calls; those that come without an interval are means over `JOININGS`.

    Long calls are few, and which clips they are joined from moves their error by more than a point. Cllr and its least
    are of the calls of all of them together, which one calibration has to fit.
    """
    joinings = [
        scored
        for seed in range(JOININGS)
        if len((scored := score_calls(corpus, result, name, target_s, calibrations, seed)).score)
    ]
    if not joinings:
        return None
    title = f"{name}, {target_s:.0f} s"
    rows = [_row(title, scored, corpus, wild[scored.first]) for scored in joinings]
    together = Scored(
        **{
            field.name: np.concatenate([getattr(scored, field.name) for scored in joinings])
            for field in dataclasses.fields(Scored)
        }
    )
    pooled = _row(title, together, corpus, wild[together.first])
    means = {
        field.name: float(np.mean([getattr(row, field.name) for row in rows]))
        for field in dataclasses.fields(Row)
        if isinstance(getattr(rows[0], field.name), float)
    }
    means |= {name: getattr(pooled, name) for name in ("cllr", "minimum_cllr", "excess_by_chance")}
    return dataclasses.replace(rows[0], **means)  # type: ignore[arg-type]


def _decide(
    corpus: Corpus,
    raw: np.ndarray,
    seconds: np.ndarray,
    first: np.ndarray,
    calibrations: dict[int, Calibration],
) -> Scored:
    score = np.zeros(len(raw))
    flagged, reviewed = np.zeros(len(raw), dtype=bool), np.zeros(len(raw), dtype=bool)
    folds = corpus.column("fold")[first]
    for fold, calibration in calibrations.items():
        here = folds == fold
        score[here] = calibration.scores(raw[here], seconds[here])
        enough = seconds[here] >= calibration.min_speech_s
        flagged[here] = enough & (score[here] >= calibration.flag_threshold)
        reviewed[here] = enough & (score[here] >= calibration.review_threshold)
    return Scored(score, raw, corpus.column("synthetic")[first], flagged, reviewed, first)


def _groups(
    scored: Scored,
    corpus: Corpus,
    values: np.ndarray,
    keep: np.ndarray | None = None,
    against_all: bool = False,
) -> Iterable[Row]:
    mask = np.ones(len(scored.score), dtype=bool) if keep is None else keep[scored.first]
    here = values[scored.first]
    for value in np.unique(here[mask]):
        chosen = mask & (here == value)
        if against_all:
            chosen |= mask & ~scored.synthetic
        enough = [
            int((chosen & (scored.synthetic == label)).sum()) >= LEAST_FOR_A_ROW for label in (True, False)
        ]
        if value and any(enough) and not (against_all and value == "human"):
            yield _row(str(value), scored, corpus, chosen)


def _row(name: str, scored: Scored, corpus: Corpus, mask: np.ndarray) -> Row:
    synthetic = scored.synthetic[mask]
    score, raw = scored.score[mask], scored.raw[mask]
    human, fake = score[~synthetic], score[synthetic]
    both = len(human) > 0 and len(fake) > 0
    nan = float("nan")
    pages = corpus.column("page")[scored.first[mask]]
    return Row(
        name=name,
        human=len(human),
        synthetic=len(fake),
        eer=metrics.equal_error_rate(human, fake) if both else nan,
        auc=metrics.area_under_curve(human, fake) if both else nan,
        within_pages=metrics.area_within(raw, synthetic, pages) if both else nan,
        tpr_at_1_percent=metrics.true_positive_rate(human, fake, 0.01) if both else nan,
        tpr_at_01_percent=metrics.true_positive_rate(human, fake, 0.001) if both else nan,
        false_positives=metrics.rate(scored.flagged[mask][~synthetic]),
        true_positives=metrics.rate(scored.flagged[mask][synthetic]),
        review_false_positives=metrics.rate(scored.reviewed[mask][~synthetic]),
        review_true_positives=metrics.rate(scored.reviewed[mask][synthetic]),
        cllr=metrics.cllr(human, fake) if both else nan,
        minimum_cllr=metrics.minimum_cllr(human, fake) if both else nan,
        excess_by_chance=metrics.excess_by_chance(human, fake) if both else nan,
    )


def _codecs(prepared: Path) -> np.ndarray:
    channels = json.loads((prepared / f"channels-{CHANNELS['plain']}.json").read_text())
    return np.array([channel["codecs"][0]["codec"] if channel["codecs"] else "none" for channel in channels])


def _noises(prepared: Path) -> np.ndarray:
    """Signal-to-noise ratio of each clip's hard channel, in words."""
    channels = json.loads((prepared / f"channels-{CHANNELS['hard']}.json").read_text())
    edges_db = (0, 10, 15, 20, 30, 100)

    def words(snr_db: float | None) -> str:
        if snr_db is None:
            return "no noise added"
        low, high = next(pair for pair in itertools.pairwise(edges_db) if snr_db < pair[1])
        return f"{low:02d}–{high} dB" if high < 100 else f"over {low} dB"

    return np.array([words(channel["noise_snr_db"]) for channel in channels])


def _worst_pages(scored: Scored, corpus: Corpus, wild: np.ndarray) -> Iterable[Row]:
    """Pages with enough clips of both classes, the one told apart worst first."""
    pages = corpus.column("page")
    rows = _groups(scored, corpus, pages, wild)
    both = [row for row in rows if min(row.human, row.synthetic) >= LEAST_FOR_A_ROW // 2]
    return sorted(both, key=lambda row: row.auc)[:WORST_PAGES]


def _markdown(title: str, rows: tuple[Row, ...]) -> str:
    head = (
        "| | human | synthetic | EER | AUC | within pages | TPR at 1 % FPR | FPR at flag | TPR at flag "
        "| FPR at review | TPR at review | Cllr (min, excess by chance) |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {row.name} | {row.human} | {row.synthetic} | {_percent(row.eer)} | {_number(row.auc)} | "
        f"{_number(row.within_pages)} | {_percent(row.tpr_at_1_percent)} | {_rate(row.false_positives)} | "
        f"{_rate(row.true_positives)} | {_rate(row.review_false_positives)} | {_rate(row.review_true_positives)} | "
        f"{_number(row.cllr)} ({_number(row.minimum_cllr)}, {_number(row.excess_by_chance)}) |"
        for row in rows
    ]
    return "\n".join([f"### {title}", "", head, *lines])


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _rate(rate: Rate) -> str:
    if not rate.total:
        return "–"
    return f"{100 * rate.value:.2f} % [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"
