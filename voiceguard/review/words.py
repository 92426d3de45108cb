"""What the pages say: numbers, times, verdicts and attestations in plain words."""

from __future__ import annotations

import datetime as dt
from typing import Any

from voiceguard.console import signed
from voiceguard.enforcement.decisions import CONSENT, REASONS
from voiceguard.evidence.wording import HEADLINES, support_in_words
from voiceguard.store.decisions import Action, Stage, State, Why
from voiceguard.store.people import Purpose, Role
from voiceguard.verdict import Reason, Verdict

STALE_AFTER = dt.timedelta(days=10)
"""Tracebacks of older calls are rarely answered: providers keep their records for days, not months."""
_STALE_SOON = dt.timedelta(days=7)

VERDICTS = HEADLINES
REASONS_SHORT = {
    Reason.NO_SPEECH: "no speech",
    Reason.TOO_LITTLE_SPEECH: "too little speech",
    Reason.POOR_QUALITY: "poor audio",
    Reason.NEAR_THRESHOLD: "between the thresholds",
}
STATES = {
    State.OPEN: "Open",
    State.SECOND: "Second opinion",
    State.ESCALATED: "Escalated",
    State.DECIDED: "Decided",
}
OUTCOMES = {
    "confirmed": "Confirmed",
    "dismissed": "Dismissed",
    "second": "Second opinion wanted",
    "escalated": "Escalated",
}
ACTIONS = {
    Action.CONFIRM: "Confirm",
    Action.DISMISS: "Dismiss",
    Action.SECOND: "Second opinion",
    Action.ESCALATE: "Escalate",
}
ACTION_HINTS = {
    Action.CONFIRM: "The voice is synthetic",
    Action.DISMISS: "The flag is wrong",
    Action.SECOND: "Somebody else should listen",
    Action.ESCALATE: "A supervisor should see it",
}
DONE = {
    Action.CONFIRM: "Confirmed",
    Action.DISMISS: "Dismissed",
    Action.SECOND: "Second opinion asked for",
    Action.ESCALATE: "Escalated",
    Action.UNDO: "Taken back",
}
STAGES = {Stage.FIRST: "", Stage.SECOND: "second opinion", Stage.RESOLUTION: "resolution"}
WHY = {
    Why.FLAGGED: "Flagged",
    Why.RANDOM: "Random check",
    Why.CAMPAIGN: "With its campaign",
    Why.ASKED: "Chosen by a reviewer",
}
PURPOSES = {
    Purpose.REVIEW: "Review of flagged calls",
    Purpose.TRACEBACK: "Traceback",
    Purpose.COURT: "Court or subpoena",
    Purpose.QUALITY: "Quality check",
    Purpose.AUDIT: "Audit",
    Purpose.TRAINING: "Training of reviewers",
}
ROLES = {
    Role.ANALYST: "Analyst",
    Role.SUPERVISOR: "Supervisor",
    Role.AUDITOR: "Auditor",
    Role.ADMIN: "Administrator",
}
ROLE_RIGHTS = {
    Role.ANALYST: "listens, decides and builds cases; sees callers' numbers, not the called people's",
    Role.SUPERVISOR: "as an analyst; sees all numbers, resolves what was escalated, splits and merges campaigns, "
    "sends notices",
    Role.AUDITOR: "reads and listens; decides nothing and sees no whole number",
    Role.ADMIN: "as a supervisor; opens and closes accounts",
}
LEVELS = {
    "A": "Full attestation: the signing provider knows the customer and the right to this number.",
    "B": "Partial attestation: the signing provider knows the customer, not the right to this number.",
    "C": "Gateway attestation: the signing provider only knows where the call came in.",
}
VERIFICATIONS = {
    "passed": "The signature was checked and holds.",
    "failed": "The signature was checked and does not hold: the number may be forged.",
    "not_done": "No signature was checked.",
    "unknown": "Whether the signature was checked is not known.",
}
CONSENTS = CONSENT
DECISION_REASONS = {
    **{code: said for codes in REASONS.values() for code, said in codes.items()},
    "undo": "Taken back",
}
BANDS = (
    (-3.0, "far-human", "clearly human"),
    (-1.0, "human", "rather human"),
    (1.0, "neither", "neither"),
    (3.0, "synthetic", "rather synthetic"),
    (float("inf"), "far-synthetic", "clearly synthetic"),
)
"""Bounds of a window's score, name of its colour, and what the list says."""


def score(value: float | None) -> str:
    """Return a score with its sign; a dash if there is none."""
    return "–" if value is None else signed(value)


def strength(value: float | None) -> str:
    """Return the verbal scale's words for a score, and for which explanation."""
    if value is None:
        return "not measured"
    import math

    ratio = math.exp(abs(value))
    if ratio < 2:
        return "no support either way"
    return f"{support_in_words(ratio)} for {'synthetic' if value > 0 else 'human'}"


def band(value: float) -> tuple[str, str]:
    """Return a window score's colour name and words."""
    return next((name, said) for bound, name, said in BANDS if value < bound)


def seconds(value: float) -> str:
    """Return seconds as ``0:07`` or ``1:02:03``."""
    whole = round(value)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def clock(value: float) -> str:
    """Return a place in a recording as ``0:07.25``."""
    return f"{int(value // 60)}:{value % 60:05.2f}"


def iso(at: dt.datetime) -> str:
    """Return a moment for machines."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(at: dt.datetime) -> str:
    """Return a moment in UTC for people; a script shows it in their zone."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def age(at: dt.datetime, now: dt.datetime) -> tuple[str, str]:
    """Return how old a call is, and what that means for a traceback: empty, ``soon`` or ``stale``."""
    passed = now - at
    hours = int(passed.total_seconds() // 3600)
    text = f"{hours // 24} d" if hours >= 48 else f"{hours} h" if hours >= 1 else "under 1 h"
    return text, "stale" if passed >= STALE_AFTER else "soon" if passed >= _STALE_SOON else ""


def masked(number: str | None) -> str | None:
    """Return a number of which only the country and the last two digits can be read."""
    if number is None:
        return None
    return number[:3] + "•" * max(len(number) - 5, 3) + number[-2:]


def attestation(found: dict[str, Any] | None) -> list[str]:
    """Return what is known of a call's attestation, in sentences."""
    if not found:
        return ["No attestation came with the call: nobody vouches for the caller's number."]
    said = []
    if found.get("level") in LEVELS:
        said.append(LEVELS[found["level"]])
    said.append(VERIFICATIONS.get(str(found.get("verification")), VERIFICATIONS["unknown"]))
    if found.get("level") == "A":
        said.append("It says who vouches for the number, not that the call is honest.")
    said += [str(note).replace("_", " ").capitalize() + "." for note in found.get("notes") or ()]
    return said


def person(actor: str, names: dict[str, str]) -> str:
    """Return who did something, as a name."""
    if actor in names:
        return names[actor]
    return "VoiceGuard" if actor == "voiceguard" else "a carrier's key" if actor.startswith("key_") else actor


def verdict_kind(verdict: Verdict | None) -> str:
    """Return the name of a verdict's badge."""
    return verdict.value if verdict else "inconclusive"
