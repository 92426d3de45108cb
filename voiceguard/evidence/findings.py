"""The part of the report that says what was found in one call, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from voiceguard.console import signed
from voiceguard.evidence import wording
from voiceguard.evidence.cues import Cues, readings
from voiceguard.evidence.document import Block, Fact, Facts, Paragraph, Picture, Table
from voiceguard.evidence.dossier import Exhibit
from voiceguard.evidence.rates import Rate, known_rates
from voiceguard.screening import Screening
from voiceguard.verdict import Calibration


@dataclass(frozen=True)
class Shown:
    """One call as the report shows it."""

    exhibit: Exhibit
    calibration: Calibration
    evaluation: bytes | None
    picture: bytes
    cues: Cues | None
    """Of the channel that decides."""


def found(one: Shown) -> list[Block]:
    """Return verdict, score and reason of each channel, and the picture."""
    screening = one.exhibit.screening
    rows = tuple(
        (
            _channel(channel.channel, screening),
            wording.HEADLINES[channel.verdict],
            "–" if channel.score is None else signed(channel.score),
            f"{channel.quality.speech_s:.1f} s",
            wording.reason_in_words(channel),
        )
        for channel in screening.channels
    )
    decides = (
        "the channel that the carrier named as the remote party's decides"
        if one.exhibit.call.remote_channel is not None
        else "the channel with the highest score decides"
    )
    blocks: list[Block] = [
        Table(("Channel", "Found", "Score", "Speech", "Why"), rows, (0.12, 0.2, 0.1, 0.1, 0.48)),
    ]
    if len(screening.channels) > 1:
        blocks.append(Paragraph(f"Each channel is one side of the call and is judged apart; {decides}."))
    blocks.append(
        Picture(
            one.picture,
            "Waveform, spectrogram and scores of the recording over time; the table above has the result.",
            "Above: the sound wave, speech shaded. Middle: the spectrogram, how strong each pitch is over time; "
            "brighter is stronger. Below: the score of each stretch of speech (blue bars) and of all of it together "
            "(dotted), with the thresholds of the next section. All together may score higher, or lower, than every "
            "stretch alone: more speech says more. The same picture lies in the package as picture.png.",
        )
    )
    return blocks


def scale(screening: Screening, calibration: Calibration) -> list[Block]:
    """Explain the score."""
    decision = screening.decision
    blocks: list[Block] = [
        Paragraph(
            "The score is the natural logarithm of a likelihood ratio: how many times as probable the measurement is "
            "if the voice was made by a machine as if a person spoke. At 0 the recording says nothing either way; "
            "above 0 it speaks for a machine, below 0 for a person; each step of 2.3 makes it ten times as strong."
        ),
        Table(
            ("Score", "What it leads to"),
            (
                (f"from {signed(screening.threshold)}", "“Synthetic voice likely”: the call is flagged."),
                (f"from {signed(screening.review_threshold)}", "No verdict; a person should listen."),
                (f"above {signed(calibration.clear_threshold)}", "No verdict."),
                (f"up to {signed(calibration.clear_threshold)}", "“Human voice likely”."),
            ),
            (0.25, 0.75),
        ),
        Paragraph(
            "In words, after the European Network of Forensic Science Institutes' guideline for evaluative reporting: "
            "a ratio of 2 to 10 is weak support, to 100 moderate, to 1,000 moderately strong, to 10,000 strong support "
            f"for the one explanation over the other. Scores are bounded to ±{calibration.bound:g}, since the "
            "evaluation is too small to support more.",
            small=True,
        ),
    ]
    if decision.probability is not None:
        blocks.append(
            Paragraph(
                f"If {calibration.prior:.0%} of all such calls had a synthetic voice, this score would make it "
                f"{_percent(decision.probability)} probable that this one has. With another share it would be another "
                "figure: the share is an assumption, no measurement.",
                small=True,
            )
        )
    return blocks


def error_rates(one: Shown) -> list[Block]:
    """Return the known error rates nearest to the recording."""
    screening = one.exhibit.screening
    known = known_rates(one.evaluation, codec=screening.codec, speech_s=screening.decision.quality.speech_s)
    if not known:
        return [Paragraph("No evaluation came with the model: its error rates are not known.")]
    blocks: list[Block] = [
        Paragraph(
            "The method was tried on voices, speakers and engines that it had not heard in training. These are the "
            f"trials nearest to this recording ({screening.decision.quality.speech_s:.1f} s of speech, codec "
            f"{screening.codec}). The interval is where the true rate lies with 95 % confidence, from the number of "
            "trials alone."
        ),
        Table(
            ("Trial", "People's recordings wrongly called synthetic", "Synthetic voices called synthetic"),
            tuple((one.condition, _rate(one.human_flagged), _rate(one.synthetic_flagged)) for one in known),
            (0.3, 0.35, 0.35),
        ),
        Table(
            ("Trial", "People's recordings sent to a person", "Synthetic voices sent to a person"),
            tuple((one.condition, _rate(one.human_reviewed), _rate(one.synthetic_reviewed)) for one in known),
            (0.3, 0.35, 0.35),
        ),
    ]
    if not any("codec" in trial.condition for trial in known):
        blocks.append(Paragraph(f"The codec {screening.codec} was not tried by itself.", small=True))
    blocks.append(
        Paragraph(
            "What is not called synthetic is not thereby human: most synthetic voices pass unflagged, since the "
            "threshold is set to accuse few people wrongly. The model card in the package says how the trials were "
            "made, and has them by language, kind of engine and source.",
            small=True,
        )
    )
    return blocks


def quality(one: Shown) -> list[Block]:
    """Return how good the audio is, and what a person can listen for."""
    quality = one.exhibit.screening.decision.quality
    facts = [
        Fact("Speech", f"{quality.speech_s:.1f} s"),
        Fact("Level of the speech", f"{quality.level_db:.0f} dB below full scale".replace("-", "")),
        Fact("Speech over background", f"{quality.snr_db:.0f} dB"),
        Fact("Highest frequency with speech", f"{quality.bandwidth_hz:,.0f} Hz"),
        Fact("Samples at full scale (clipped)", _percent(quality.clipped_share)),
    ]
    blocks: list[Block] = [Facts(tuple(facts))]
    if one.cues is not None and any(reading.value is not None for reading in readings(one.cues)):
        blocks += [
            Paragraph(
                "Acoustic cues help a person to listen. The verdict does not rest on them, and none proves anything "
                "alone."
            ),
            Facts(
                tuple(
                    Fact(reading.label, f"{reading.value:.4g} {reading.unit}".strip())
                    for reading in readings(one.cues)
                    if reading.value is not None
                )
            ),
        ]
    return blocks


def _rate(rate: Rate | None) -> str:
    return str(rate) if rate is not None else "not tried"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else "less than 0.1 %"


def _channel(channel: int, screening: Screening) -> str:
    decides = len(screening.channels) > 1 and channel == screening.decision.channel
    return f"{channel} (decides)" if decides else f"{channel}"
