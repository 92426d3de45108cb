"""The model card: what the detector is, what it was trained on, how wrong it is, what it must not be used for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voiceguard.features import FeatureSet, feature_names
from voiceguard.training.prepare import FIRST_AT_OTHER_SPEED, MOST_LOG_SPEED
from voiceguard.training.report import JOININGS, Report
from voiceguard.verdict import Calibration
from voiceguard.windows import WINDOW_S

CARD_FILE = "CARD.md"

_TEXT = """\
# Model card: {model_id}

**What it does.** Scores windows of {window_s:.0f} seconds of 8 kHz telephone speech as synthetic or human. A window's
{features} features are functionals of fine spectral dynamics (cepstra of linear bands, band energies and
their movement within milliseconds, periodicity, all-pole fit); {networks}. The mean over a call's windows becomes a
natural-log likelihood ratio that depends on the seconds of speech. {beside}

**What a verdict means.** `synthetic` from score {flag:.2f}; `human` up to {clear:.2f}; between them, and with under
{min_speech:.0f} seconds of speech or poor quality, `inconclusive`. A person should listen from {review:.2f}. The
probability shown assumes that {prior:.0%} of calls are synthetic. A verdict says "synthetic voice likely", never
"illegal", and is no proof of anything by itself.

**Trained on** {clips} clips of {corpus} (corpus manifest SHA-256 `{sha}`), each through {versions} simulated telephone
channels (plain, mild, hard), the first {spoken} of them at the speed it was spoken at, the others up to {speed:.0%}
faster or slower; all folds. Weights, calibration and thresholds are in `recipe.json` and `model.json`. The clips are
not part of the project.

**How the figures below were made.** `voiceguard evaluate MANIFEST --work FOLDER --detector {kind}`. They are not of
the shipped networks, which heard all folds, but of the same recipe: each fold scored by networks that heard none of
its pages, speakers or engine names; calibration and thresholds applied to a fold were fitted on the other four.
Intervals are 95 % Clopper-Pearson and take clips as independent, which clips of one page are not. Calls are joined
from a voice's clips in {joinings} random orders: what has no interval is the mean over them, the rest is of the first.
Cllr stands before the least that any calibration of these scores would give, and how far perfectly calibrated scores
of as many calls would lie above theirs, since that least is fitted to them. Of calls it is fitted to all orders
together, which are taken as calls of their own; they share their clips, so chance is more than it says.

**Known limits.** Labels of the corpus come from file names and page headings, with some noise. Most speech is
English. Wild pages show systems at their best, without the noise of a call; the channel is simulated. Voices of
makers that appear after 2026 are not in it. The tables by human source and by kind of engine say where it errs most.
The error of a single clip is high: decide on whole calls and campaigns, and listen.

## Evaluation

{tables}"""


_OF_WINDOW = {1.0: "the window's", 0.5: "half of the window's"}

_BESIDE: dict[FeatureSet, str] = {
    "full": "A lighter detector, `light`, lies beside it, with a card of its own.",
    "light": "It is the lighter of two: `VOICEGUARD_MODEL=light` chooses it where speed counts for more.",
}


def write_card(
    folder: Path,
    model_id: str,
    kind: FeatureSet,
    calibration: Calibration,
    report: Report,
    recipe: Mapping[str, Any],
) -> None:
    """Write ``CARD.md`` into the model's folder."""
    text = _TEXT.format(
        model_id=model_id,
        window_s=WINDOW_S,
        kind=kind,
        features=len(feature_names(kind)),
        networks=_networks(recipe),
        beside=_BESIDE[kind],
        flag=calibration.flag_threshold,
        review=calibration.review_threshold,
        clear=calibration.clear_threshold,
        min_speech=calibration.min_speech_s,
        prior=calibration.prior,
        clips=recipe["clips"],
        corpus="speech from demo pages, packages and human collections",
        sha=str(recipe["corpus_sha256"])[:16],
        versions=recipe["versions"],
        spoken=FIRST_AT_OTHER_SPEED,
        speed=math.expm1(MOST_LOG_SPEED),
        joinings=JOININGS,
        tables=report.to_markdown(),
    )
    (folder / CARD_FILE).write_text(text)


def _networks(recipe: Mapping[str, Any]) -> str:
    members = len(recipe["members"])
    said = (
        f"the outputs of {members} perceptrons on them are averaged"
        if members > 1
        else "a perceptron scores them"
    )
    if heard := recipe.get("network"):
        said += (
            f", and {heard['weight']} times the output of a convolutional network on {_OF_WINDOW[heard['share']]} "
            "log-spectrogram is added"
        )
    return said
