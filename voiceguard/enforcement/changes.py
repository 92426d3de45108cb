"""What people change about campaigns: merge, split, teach an announcement. Each leaves a line of history.

A merged campaign's id goes on answering, with the campaign that survived: the older one. A split holds: the
two campaigns stand apart, and no call joins them again until a reviewer merges them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard import fingerprint as fingerprints
from voiceguard.errors import VoiceGuardError
from voiceguard.fingerprint import Fingerprint
from voiceguard.store import audit, campaigns, schema, similar
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing

SYSTEM = "voiceguard"
"""Who acts where no person does."""
IS_ANNOUNCEMENT = 0.7
"""A recording is an announcement if this share of its speech is."""

_calls, _campaigns, _prints = schema.calls.c, schema.campaigns.c, schema.fingerprints.c


class CampaignError(VoiceGuardError):
    """The campaign can't be changed in this way."""

    code = "campaign_error"
    remedy = "See voiceguard campaign list, and show for the calls of one."


@dataclass(frozen=True)
class Announcement:
    """A known announcement."""

    name: str
    taught_at: dt.datetime
    actor: str
    speech_s: float


def merge(
    engine: sa.Engine, campaign_ids: Sequence[str], *, actor: str, reason: str, now: dt.datetime
) -> str:
    """Make several campaigns one and return its id; splits among them are forgotten.

    Raises
    ------
    CampaignError
        There are not two campaigns to merge.
    """
    with writing(engine) as connection:
        campaigns.serialise(connection)
        seqs = sorted({_found(connection, campaign_id)[0] for campaign_id in campaign_ids})
        if len(seqs) < 2:
            raise CampaignError("Expected two campaigns or more; these are one already.")
        campaigns.together_again(connection, seqs)
        survivor_id = merge_into(connection, seqs[0], seqs[1:], actor=actor, reason=reason, now=now)
        said = {"campaigns": sorted(campaign_ids), "reason": reason}
        audit.append(connection, Act(actor, Action.CAMPAIGNS_MERGED, survivor_id, said))
        return survivor_id


def merge_into(
    connection: sa.Connection,
    survivor: int,
    gone: Collection[int],
    *,
    actor: str,
    reason: str,
    now: dt.datetime,
) -> str:
    """Move everything of the ``gone`` campaigns into ``survivor``; return its id."""
    survivor_id: str = connection.execute(
        sa.select(_campaigns.id).where(_campaigns.seq == survivor)
    ).scalar_one()
    for seq in sorted(gone):
        row = connection.execute(
            sa.select(_campaigns.id, _campaigns.calls, _campaigns.told_size, _campaigns.verdict).where(
                _campaigns.seq == seq
            )
        ).one()
        for _ in range(2):
            # Once more after the fingerprints are ours: a call that was being stored has come through.
            connection.execute(
                sa.update(schema.calls).where(_calls.campaign_id == row.id).values(campaign_id=survivor_id)
            )
            connection.execute(
                sa.update(schema.fingerprints)
                .where(_prints.campaign_seq == seq)
                .values(campaign_seq=survivor)
            )
        for other in campaigns.apart_from(connection, seq):
            campaigns.set_apart(connection, survivor, other)
        campaigns.together_again(connection, [survivor, seq])
        connection.execute(
            sa.update(schema.campaigns)
            .where(sa.or_(_campaigns.seq == seq, _campaigns.merged_into == seq))
            .values(merged_into=survivor)
        )
        connection.execute(
            sa.update(schema.campaigns)
            .where(_campaigns.seq == survivor, _campaigns.told_size < row.told_size)
            .values(told_size=row.told_size)
        )
        campaigns.recount(connection, seq)
        detail = {"calls": row.calls, "verdict": row.verdict}
        campaigns.note(
            connection,
            survivor,
            action="merge",
            actor=actor,
            reason=reason,
            at=now,
            other_seq=seq,
            detail=detail,
        )
    campaigns.recount(connection, survivor)
    return survivor_id


def split(
    engine: sa.Engine,
    campaign_id: str,
    out: Collection[str],
    *,
    actor: str,
    reason: str,
    now: dt.datetime,
) -> str:
    """Move some recordings of a campaign, with all their calls, into a new one; return its id.

    Parameters
    ----------
    engine
        The database.
    campaign_id
        The campaign to split.
    out
        What goes: SHA-256 of recordings, or ids of calls, which stand for their recordings.
    actor, reason, now
        For the history.

    Raises
    ------
    CampaignError
        Something in ``out`` is not in the campaign, or nothing would be left.
    """
    with writing(engine) as connection:
        campaigns.serialise(connection)
        seq, current_id = _found(connection, campaign_id)
        hashes = {_recording(connection, current_id, one) for one in out}
        rows = connection.execute(
            sa.select(_prints.seq, _prints.recording_sha256).where(_prints.campaign_seq == seq)
        ).all()
        going = [row.seq for row in rows if row.recording_sha256 in hashes]
        if not going:
            raise CampaignError("Expected recordings or calls to move out; got none.")
        if len(going) == len(rows):
            raise CampaignError("Expected that some recordings stay; these are all that the campaign has.")
        new_seq, new_id = campaigns.new(connection, now=now)
        for _ in range(2):  # see merge_into
            for some in campaigns.batches(sorted(hashes)):
                connection.execute(
                    sa.update(schema.calls)
                    .where(_calls.campaign_id == current_id, _calls.recording_sha256.in_(some))
                    .values(campaign_id=new_id)
                )
            campaigns.move_prints(connection, going, new_seq)
        for other in campaigns.apart_from(connection, seq):
            campaigns.set_apart(connection, new_seq, other)
        campaigns.set_apart(connection, seq, new_seq)
        size = campaigns.recount(connection, new_seq)
        campaigns.recount(connection, seq)
        told = sa.select(_campaigns.told_size).where(_campaigns.seq == seq).scalar_subquery()
        connection.execute(
            sa.update(schema.campaigns).where(_campaigns.seq == new_seq).values(told_size=told)
        )
        campaigns.note(
            connection,
            seq,
            action="split",
            actor=actor,
            reason=reason,
            at=now,
            other_seq=new_seq,
            detail={"recordings": len(going), "calls": size.calls},
        )
        said = {"new_campaign": new_id, "recordings": sorted(hashes), "reason": reason}
        audit.append(connection, Act(actor, Action.CAMPAIGN_SPLIT, current_id, said))
        return new_id


def teach(engine: sa.Engine, name: str, print_: Fingerprint, *, actor: str, now: dt.datetime) -> int:
    """Make an announcement known; return how many stored recordings turn out to be it.

    These leave their campaigns, and the calls say so from now on.

    Raises
    ------
    CampaignError
        The name is taken, or there is too little speech to know the announcement by.
    """
    if not len(print_.keys()):
        raise CampaignError(
            f"Expected an announcement with some seconds of speech, got {print_.speech_s:.1f} s."
        )
    with writing(engine) as connection:
        campaigns.serialise(connection)
        table = schema.announcements
        if connection.scalar(sa.select(table.c.seq).where(table.c.name == name)) is not None:
            raise CampaignError(f"Expected a new name, but an announcement {name!r} is known already.")
        seq = connection.execute(
            sa.insert(table).values(name=name, taught_at=now, actor=actor).returning(table.c.seq)
        ).scalar_one()
        alike = similar.find(connection, print_)
        campaigns.add_print(
            connection,
            print_,
            sha256=None,
            channel=0,
            evidence=None,
            campaign_seq=None,
            announcement_seq=seq,
            indexed=True,
        )
        moved = 0
        for campaign_seq in sorted({one.campaign_seq for one in alike if one.campaign_seq is not None}):
            leaving = []
            rows = connection.execute(
                sa.select(_prints.seq, _prints.speech_s, _prints.data).where(
                    _prints.campaign_seq == campaign_seq, _prints.version == fingerprints.VERSION
                )
            )
            for row in rows:
                match = fingerprints.match(print_, Fingerprint.from_bytes(row.data))
                if match is not None and match.common_s >= IS_ANNOUNCEMENT * row.speech_s:
                    leaving.append(row.seq)
            if leaving:
                _leave(connection, campaign_seq, leaving, seq, name, actor=actor, now=now)
                moved += len(leaving)
        said = {"name": name, "fingerprint_sha256": audit.digest(print_.to_bytes()), "recordings": moved}
        audit.append(connection, Act(actor, Action.ANNOUNCEMENT_TAUGHT, name[:64], said))
        return moved


def _leave(
    connection: sa.Connection,
    campaign_seq: int,
    leaving: list[int],
    announcement_seq: int,
    name: str,
    *,
    actor: str,
    now: dt.datetime,
) -> None:
    campaign_id = connection.scalar(sa.select(_campaigns.id).where(_campaigns.seq == campaign_seq))
    for _ in range(2):  # see merge_into
        for some in campaigns.batches(leaving):
            hashes = sa.select(_prints.recording_sha256).where(_prints.seq.in_(some))
            connection.execute(
                sa.update(schema.calls)
                .where(_calls.campaign_id == campaign_id, _calls.recording_sha256.in_(hashes))
                .values(campaign_id=None, announcement=name)
            )
            connection.execute(
                sa.update(schema.fingerprints)
                .where(_prints.seq.in_(some))
                .values(campaign_seq=None, announcement_seq=announcement_seq)
            )
    for some in campaigns.batches(leaving):
        rows = connection.execute(
            sa.update(schema.fingerprints)
            .where(_prints.seq.in_(some), _prints.indexed)
            .values(indexed=False)
            .returning(_prints.seq, _prints.data)
        ).all()
        for row in rows:
            similar.remove(connection, row.seq, Fingerprint.from_bytes(row.data))
    campaigns.recount(connection, campaign_seq)
    campaigns.note(
        connection,
        campaign_seq,
        action="announcement",
        actor=actor,
        reason=f"{len(leaving)} recordings are the announcement {name}",
        at=now,
    )


def forget(engine: sa.Engine, name: str, *, actor: str) -> bool:
    """Forget an announcement; False if there is no such one. What it kept out of campaigns stays out."""
    with writing(engine) as connection:
        campaigns.serialise(connection)
        table = schema.announcements
        seq = connection.scalar(sa.select(table.c.seq).where(table.c.name == name))
        if seq is None:
            return False
        own = sa.and_(_prints.announcement_seq == seq, _prints.recording_sha256.is_(None))
        for row in connection.execute(sa.select(_prints.seq, _prints.version, _prints.data).where(own)).all():
            if row.version == fingerprints.VERSION:
                similar.remove(connection, row.seq, Fingerprint.from_bytes(row.data))
        # Recordings that were it have no fingerprint any more: the same bytes are looked up anew.
        connection.execute(sa.delete(schema.fingerprints).where(_prints.announcement_seq == seq))
        connection.execute(sa.delete(table).where(table.c.seq == seq))
        audit.append(connection, Act(actor, Action.ANNOUNCEMENT_FORGOTTEN, name[:64], {"name": name}))
        return True


def announcements(engine: sa.Engine) -> list[Announcement]:
    """Return the known announcements, by name."""
    table = schema.announcements.c
    query = (
        sa.select(table.name, table.taught_at, table.actor, _prints.speech_s)
        .join(schema.fingerprints, _prints.announcement_seq == table.seq)
        .where(_prints.recording_sha256.is_(None))
        .order_by(table.name)
    )
    with reading(engine) as connection:
        return [Announcement(*row) for row in connection.execute(query)]


def _found(connection: sa.Connection, campaign_id: str) -> tuple[int, str]:
    found = campaigns.resolve(connection, campaign_id)
    if found is None:
        raise CampaignError(f"Expected a campaign's id, got {campaign_id}.")
    return found


def _recording(connection: sa.Connection, campaign_id: str, which: str) -> str:
    """Return the SHA-256 that a call's id or a recording's hash stands for."""
    column = _calls.id if which.startswith("call_") else _calls.recording_sha256
    sha256 = connection.scalar(
        sa.select(_calls.recording_sha256).where(column == which, _calls.campaign_id == campaign_id).limit(1)
    )
    if sha256 is None:
        raise CampaignError(f"Expected a call or a recording of {campaign_id}, got {which}.")
    return sha256
