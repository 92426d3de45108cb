"""Deciding a call: who may do what when, what a second opinion does, what two reviewers at once do.

A first decision stands, unless the case is drawn for a second opinion: then another person decides without
seeing it. Two that agree decide the case; two that differ send it to a supervisor, whose resolution stands. Of
two people who decide at once neither is lost: the later one had not seen the earlier decision, so it counts as
a second opinion, and its author is told.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.errors import VoiceGuardError
from voiceguard.store import audit, campaign_decisions, campaigns, decisions
from voiceguard.store.audit import Act
from voiceguard.store.decisions import VERDICTS, Action, Consent, Decision, NewDecision, Stage, State
from voiceguard.store.engine import writing
from voiceguard.store.people import Role, User

REASONS: dict[Action, dict[str, str]] = {
    Action.CONFIRM: {
        "synthetic_heard": "A synthetic voice is heard",
        "cues_support": "Windows and cues support the flag",
        "known_recording": "Same recording as a confirmed call",
        "source_admitted": "The caller or provider said so",
    },
    Action.DISMISS: {
        "person_heard": "A person is heard",
        "recorded_person": "A recording of a person",
        "audio_too_poor": "Audio too poor to judge",
        "not_speech": "Tones, music or silence",
        "network_announcement": "An announcement of the network",
    },
    Action.SECOND: {
        "unsure": "I can't tell",
        "language": "A language that I don't know",
        "conflict_of_interest": "I know somebody involved",
    },
    Action.ESCALATE: {
        "harm": "People are being harmed now",
        "public_figure": "Imitates a public figure, or an election",
        "legal_question": "A legal question",
        "large_campaign": "Large or growing campaign",
    },
}
"""Reason codes and what they say, by action."""

CONSENT = {
    Consent.UNKNOWN: "Not known",
    Consent.NONE: "None found",
    Consent.CLAIMED: "Claimed, not shown",
    Consent.DOCUMENTED: "Documented",
    Consent.NOT_NEEDED: "Not needed (emergency or exempt)",
}
MAX_NOTE_CHARS = 4000
_MAY_DECIDE = {Role.ANALYST, Role.SUPERVISOR, Role.ADMIN}
_MAY_RESOLVE = {Role.SUPERVISOR, Role.ADMIN}


class DecisionError(VoiceGuardError):
    """The decision can't be made."""

    code = "decision_error"
    remedy = "Load the page again and see what has been decided."


@dataclass(frozen=True)
class Choice:
    """What a reviewer chose."""

    action: Action
    reason: str
    note: str
    consent: Consent = Consent.UNKNOWN


@dataclass(frozen=True)
class Made:
    """A decision that was made."""

    seq: int
    state: State
    told: str | None = None
    """What the reviewer must be told: another one was faster, or the opinions differ."""


def check(choice: Choice) -> None:
    """Raise `DecisionError` unless the choice has a reason of its action and a note."""
    if choice.action not in REASONS:
        raise DecisionError(f"Expected an action to decide by, got {choice.action}.")
    if choice.reason not in REASONS[choice.action]:
        raise DecisionError("Choose a reason: a decision without one can't be checked later.")
    if not 3 <= len(choice.note.strip()) <= MAX_NOTE_CHARS:
        raise DecisionError(f"Write a note of 3 to {MAX_NOTE_CHARS} characters: what did you hear or find?")


def decide(
    engine: sa.Engine,
    call_id: str,
    choice: Choice,
    user: User,
    *,
    seen_version: int,
    second_share: float,
    now: dt.datetime,
) -> Made:
    """Decide a call.

    Parameters
    ----------
    engine
        The database.
    call_id
        The call.
    choice
        What the reviewer chose.
    user
        The reviewer.
    seen_version
        ``Review.version`` that the reviewer's page showed.
    second_share
        Share of first verdicts that are drawn for a second opinion, 0–1.
    now
        When.

    Raises
    ------
    DecisionError
        The choice is incomplete, or this person may not make it now; nothing was written.
    """
    check(choice)
    if user.role not in _MAY_DECIDE:
        raise DecisionError(f"Expected somebody who may decide; the role {user.role} only reads.")
    with writing(engine) as connection:
        review = decisions.locked(connection, call_id)
        if review is None:
            raise DecisionError("Expected a call, but there is none of this id: it may have been deleted.")
        made = _standing_rows(decisions.of_call(connection, call_id))
        last = made[-1] if made else None
        told, supersedes = None, None
        if review.version != seen_version and last is not None:
            stage, told = _beside(last, choice, user)
        else:
            stage = _stage(review.state, made, choice, user)
            if review.state is State.DECIDED:
                supersedes = last.seq if last is not None and last.reviewer_id == user.id else None
                if supersedes is None:
                    stage = Stage.RESOLUTION
        drawn = stage is Stage.FIRST and choice.action in VERDICTS and _drawn(call_id, second_share)
        new = NewDecision(
            reviewer_id=user.id,
            at=now,
            action=choice.action,
            stage=stage,
            reason=choice.reason,
            note=choice.note.strip(),
            consent=choice.consent,
            wants_second=drawn,
            supersedes=supersedes,
        )
        seq, standing = decisions.add(connection, review, new)
        if stage is Stage.SECOND and standing.state is State.ESCALATED and choice.action in VERDICTS:
            told = (told or "") + " Your decision and the other one differ: a supervisor will resolve them."
        audit.append(connection, _act(user, call_id, review.version + 1, new))
    return Made(seq, standing.state, told.strip() if told else None)


def undo(engine: sa.Engine, seq: int, user: User, now: dt.datetime) -> Decision:
    """Take one's own decision back, if nothing was decided on the call since; return it.

    Raises
    ------
    DecisionError
        It is somebody else's, or not the last one.
    """
    with writing(engine) as connection:
        decision = decisions.one(connection, seq)
        if decision is None or decision.reviewer_id != user.id or decision.action is Action.UNDO:
            raise DecisionError("Expected a decision of your own to undo.")
        new = _taking_back(decision, now)
        if decision.call_id is None:
            _undo_campaign(connection, decision, user, new)
            return decision
        review = decisions.locked(connection, decision.call_id)
        if review is None or review.version != decision.version:
            raise DecisionError("Expected the last decision on the call, but another one was made since.")
        decisions.add(connection, review, new)
        audit.append(connection, _act(user, decision.call_id, review.version + 1, new))
    return decision


def decide_campaign(
    engine: sa.Engine,
    campaign_id: str,
    choice: Choice,
    user: User,
    *,
    seen_version: int,
    now: dt.datetime,
) -> tuple[int, int]:
    """Decide every call of a campaign that is open; return the decision's number and how many calls.

    Raises
    ------
    DecisionError
        The choice is incomplete, the person may not decide, or somebody else has just decided the campaign.
    """
    check(choice)
    if user.role not in _MAY_DECIDE:
        raise DecisionError(f"Expected somebody who may decide; the role {user.role} only reads.")
    with writing(engine) as connection:
        campaigns.serialise(connection)
        found = campaigns.resolve(connection, campaign_id)
        if found is None:
            raise DecisionError("Expected a campaign, but there is none of this id.")
        campaign_seq, current_id = found
        before = campaign_decisions.find(connection, campaign_seq)
        version = before.version if before else 0
        if version != seen_version:
            last = decisions.of_campaign(connection, [current_id])[-1]
            raise DecisionError(
                f"{last.reviewer} decided this campaign while you had it open ({last.action.value}). What "
                "you wrote is still in the form; send it again to decide the calls that are open now."
            )
        new = NewDecision(
            user.id, now, choice.action, Stage.FIRST, choice.reason, choice.note.strip(), choice.consent
        )
        seq, count = campaign_decisions.add(connection, campaign_seq, current_id, version, new)
        audit.append(connection, _act(user, current_id, version + 1, new, calls=count))
    return seq, count


def _undo_campaign(connection: sa.Connection, decision: Decision, user: User, new: NewDecision) -> None:
    assert decision.campaign_id is not None
    found = campaigns.resolve(connection, decision.campaign_id)
    before = campaign_decisions.find(connection, found[0]) if found else None
    if found is None or before is None or before.version != decision.version:
        raise DecisionError("Expected the last decision on the campaign, but another one was made since.")
    count = campaign_decisions.undo(connection, found[0], found[1], before.version, decision.seq, new)
    audit.append(connection, _act(user, found[1], before.version + 1, new, calls=count))


def _taking_back(decision: Decision, now: dt.datetime) -> NewDecision:
    return NewDecision(
        reviewer_id=decision.reviewer_id,
        at=now,
        action=Action.UNDO,
        stage=decision.stage,
        reason="undo",
        note="Taken back.",
        consent=decision.consent,
        supersedes=decision.seq,
    )


def _standing_rows(rows: list[Decision]) -> list[Decision]:
    gone = {row.supersedes for row in rows}
    return [row for row in rows if row.seq not in gone and row.action is not Action.UNDO]


def _beside(last: Decision, choice: Choice, user: User) -> tuple[Stage, str]:
    """Return the stage of a decision made on a page that did not show the last one, and what to tell."""
    if last.reviewer_id == user.id:
        raise DecisionError("You have decided this call in another window; this page shows what stands now.")
    if choice.action in VERDICTS and last.action in VERDICTS:
        told = (
            f"{last.reviewer} decided this call while you had it open. Both decisions are kept, yours as a "
            "second opinion."
        )
        return Stage.SECOND, told
    told = f"{last.reviewer} acted on this call while you had it open. Both decisions are kept."
    return (Stage.SECOND if last.action is Action.SECOND else Stage.FIRST), told


def _stage(state: State, made: list[Decision], choice: Choice, user: User) -> Stage:
    """Return the stage that the decision belongs to; raise if this person may not make it."""
    if state is State.OPEN:
        return Stage.FIRST
    if state is State.SECOND:
        if any(row.reviewer_id == user.id for row in made):
            raise DecisionError("You have given your opinion on this call; the second one is another's.")
        if choice.action is Action.SECOND:
            raise DecisionError("This is the second opinion: confirm, dismiss or escalate.")
        return Stage.SECOND
    if state is State.ESCALATED:
        if user.role not in _MAY_RESOLVE:
            raise DecisionError("The call was escalated: a supervisor resolves it.")
        if choice.action not in VERDICTS:
            raise DecisionError("The call was escalated already: confirm or dismiss it.")
        return Stage.RESOLUTION
    own = made[-1].reviewer_id == user.id
    alone = len({row.reviewer_id for row in made}) == 1
    if not (own and alone) and user.role not in _MAY_RESOLVE:
        raise DecisionError("The call is decided; a supervisor can decide it anew.")
    return made[-1].stage if own else Stage.RESOLUTION


def _drawn(call_id: str, share: float) -> bool:
    """Draw a call for a second opinion; the same call always falls the same way."""
    return int(hashlib.sha256(call_id.encode()).hexdigest()[:12], 16) / 16**12 < share


def _act(user: User, object_id: str, version: int, new: NewDecision, calls: int | None = None) -> Act:
    said = {
        "action": new.action.value,
        "stage": new.stage.value,
        "reason": new.reason,
        "consent": new.consent.value,
        "note_sha256": audit.digest(new.note),
        "version": version,
        "supersedes": new.supersedes,
    }
    if calls is not None:
        said["calls"] = calls
    action = audit.Action.CALL_DECIDED if calls is None else audit.Action.CAMPAIGN_DECIDED
    return Act(user.id, action, object_id, said)
