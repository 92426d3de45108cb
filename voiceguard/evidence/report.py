"""The report of a package: for a judge, not an engineer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from voiceguard.console import signed
from voiceguard.evidence import findings, wording
from voiceguard.evidence.document import (
    Block,
    Bullets,
    Callout,
    Document,
    Fact,
    Facts,
    Heading,
    Paragraph,
    Table,
)
from voiceguard.evidence.dossier import Dossier, Exhibit
from voiceguard.evidence.findings import Shown
from voiceguard.store.audit import Action, Row

_ACTS = {
    Action.CALL_RECEIVED: "The recording was received and stored as it came.",
    Action.CALL_SCREENED: "The recording was screened.",
    Action.CALL_AUDIO_FETCHED: "The recording was fetched (read, not changed).",
    Action.EVIDENCE_MADE: "An evidence package was made.",
    Action.SERVICE_CONFIGURED: "The service was started with the software and model that screened.",
}
_LIMITS = (
    "It can't say that a call was unlawful. A synthetic voice may be used with consent, and a human voice may "
    "be used unlawfully.",
    "It can't say who spoke, whose voice was imitated, or which product made a voice.",
    "It judges the voice that was recorded, not the words. It can't tell whether a person wrote or played them.",
    "It can't tell a person who speaks live from a recording of a person.",
    "It can be wrong in both directions, as the known error rates show. Voices of systems that came after its "
    "training, and heavy noise or distortion, make it miss more.",
    "It is no proof by itself. A person should listen to the recording and weigh it with everything else that is "
    "known of the call.",
)


def report(dossier: Dossier, shown: Iterable[Shown], *, fingerprint: str) -> Document:
    """Write the report; calls are taken one at a time."""
    blocks: list[Block] = []
    several = len(dossier.exhibits) > 1
    if several:
        blocks += _overview(dossier)
    for number, one in enumerate(shown, 1):
        if several:
            blocks.append(Heading(f"Call {number} of {len(dossier.exhibits)}: {one.exhibit.call.id}"))
        blocks += _call(one, dossier, level=3 if several else 2)
    blocks += _limits()
    blocks += _custody(dossier, fingerprint)
    what = "a recorded telephone call" if not several else f"{len(dossier.exhibits)} recorded telephone calls"
    return Document(
        title=f"Report on {what}",
        subtitle=f"Evidence package of the {dossier.subject.kind} {dossier.subject.id}, as of {_time(dossier.as_of)}",
        running=f"VoiceGuard: report on {dossier.subject.kind} {dossier.subject.id}",
        blocks=tuple(blocks),
    )


def _overview(dossier: Dossier) -> list[Block]:
    rows = tuple(
        (
            one.call.id,
            _time(one.call.started_at),
            one.call.caller or "withheld",
            wording.HEADLINES[one.screening.decision.verdict],
            "–" if one.screening.decision.score is None else signed(one.screening.decision.score),
        )
        for one in dossier.exhibits
    )
    header = ("Call", "Began", "Caller's number", "Found", "Score")
    return [Heading("The calls"), Table(header, rows, (0.34, 0.22, 0.16, 0.19, 0.09), exact=(0,))]


def _call(one: Shown, dossier: Dossier, *, level: int) -> list[Block]:
    screening, decision = one.exhibit.screening, one.exhibit.screening.decision
    return [
        Callout(wording.HEADLINES[decision.verdict], wording.verdict_in_words(screening)),
        Paragraph(
            "This says what the sound of the recording supports. It does not say that the call was unlawful, and it "
            "is no proof by itself: see “What this method can't tell” and the known error rates."
        ),
        Heading("What was received", level),
        _received(one.exhibit),
        Heading("What was found", level),
        *findings.found(one),
        Heading("What the score means", level),
        *findings.scale(screening, one.calibration),
        Heading("How often the method is wrong", level),
        *findings.error_rates(one),
        Heading("Quality of the recording and acoustic cues", level),
        *findings.quality(one),
        Heading("What the network said of the caller's number", level),
        *_attestation(one.exhibit),
        Heading("What was done, and when", level),
        *_timeline(one.exhibit, dossier),
    ]


def _received(exhibit: Exhibit) -> Facts:
    call, screening = exhibit.call, exhibit.screening
    return Facts(
        (
            Fact("Call", call.id, exact=True),
            Fact("Received", f"{_time(call.received_at)} from {exhibit.carrier}"),
            Fact("The call began", f"{_time(call.started_at)}, as {exhibit.carrier} says"),
            Fact("Caller's number", call.caller or "withheld or not told"),
            Fact("Called number", call.callee or "not told"),
            Fact("The carrier's own id of the call", call.carrier_call_id or "not told"),
            Fact("Handed over by", call.upstream_provider or "not told"),
            Fact("Ground of the recording", call.recording_basis or "not told"),
            Fact("Length", f"{screening.duration_s:.1f} s, {_channels(len(screening.channels))}"),
            Fact(
                "Form",
                f"{screening.container}, codec {screening.codec}, {screening.rate_hz:,} samples a second, "
                f"{screening.size_bytes:,} bytes",
            ),
            Fact("SHA-256 of the recording", screening.sha256, exact=True),
        )
    )


def _attestation(exhibit: Exhibit) -> list[Block]:
    call = exhibit.call
    if call.attestation is None and not call.passports:
        return [Paragraph("Nothing was told of it (no STIR/SHAKEN attestation).")]
    found = call.attestation or {}
    level = {
        "A": "A: the provider knows its customer and that the number is the customer's",
        "B": "B: the provider knows its customer, not the number",
        "C": "C: the provider only passed the call on",
    }.get(str(found.get("level")), "none")
    facts = [
        Fact("Level that the signing provider claims", level),
        Fact("Check of the signature", str(found.get("verification", "not told")).replace("_", " ")),
    ]
    if found.get("origid"):
        facts.append(Fact("Origination id", str(found["origid"]), exact=True))
    blocks: list[Block] = [
        Facts(tuple(facts)),
        Paragraph(
            "An attestation says who vouches for the caller's number, not that the call is honest.",
            small=True,
        ),
    ]
    if call.identity:
        blocks.append(
            Paragraph("The signed token is in the package as it was received: identity.txt.", small=True)
        )
    return blocks


def _timeline(exhibit: Exhibit, dossier: Dossier) -> list[Block]:
    mine = {row.seq for row in exhibit.rows}
    about = [
        row
        for row in dossier.rows
        if row.seq in mine
        or (len(dossier.exhibits) == 1 and row.fields["action"] == Action.SERVICE_CONFIGURED)
    ]
    call = exhibit.call
    rows = [(_time(call.started_at), exhibit.carrier, "The call began.", "–")]
    rows += [_act(row) for row in about]
    in_order = tuple(sorted(rows, key=lambda row: row[0]))
    return [
        Table(("Time (UTC)", "Who", "What", "Row"), in_order, (0.22, 0.3, 0.38, 0.1), exact=(1,)),
        Paragraph(
            "Row: number in the audit log, in which no row can be changed or removed unseen; the rows and their proof "
            "are in the package. Later packages of the same call are noted there too.",
            small=True,
        ),
    ]


def _act(row: Row) -> tuple[str, str, str, str]:
    fields = row.fields
    what = _ACTS.get(fields["action"], fields["action"])
    return _time(dt.datetime.fromisoformat(fields["at"])), fields["actor"], what, f"{row.seq:,}"


def _limits() -> list[Block]:
    return [Heading("What this method can't tell"), Bullets(_LIMITS)]


def _custody(dossier: Dossier, fingerprint: str) -> list[Block]:
    return [
        Heading("How the result can be checked"),
        Paragraph(
            "The package holds the recording byte for byte as it was received, a working copy, the model that "
            "screened and everything that this report rests on. README.txt says how to check with sha256sum that no "
            "file was changed, how to verify signature and audit log with VoiceGuard, which is free software, and how "
            "to compute the score anew."
        ),
        Facts(
            (
                *(_software(one) for one in _distinct(dossier.exhibits)),
                Fact("Fingerprint of the signing key", fingerprint, exact=True),
                Fact(
                    "Audit rows",
                    f"{len(dossier.rows)} rows, covered by {len(dossier.checkpoints)} signed "
                    + ("checkpoint" if len(dossier.checkpoints) == 1 else "checkpoints"),
                ),
            )
        ),
    ]


def _distinct(exhibits: Sequence[Exhibit]) -> list[Exhibit]:
    return list({one.screening.model: one for one in exhibits}.values())


def _software(one: Exhibit) -> Fact:
    data: dict[str, Any] = dict(one.software)
    packages = ", ".join(f"{name} {version}" for name, version in sorted(data["packages"].items()))
    return Fact(
        "Screened by",
        f"model {data['model']}, VoiceGuard {data['voiceguard']}, Python {data['python']}, {packages}",
    )


def _channels(count: int) -> str:
    return "one channel" if count == 1 else f"{count} channels"


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
