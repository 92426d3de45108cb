"""A call joins the campaign of its recording, in the transaction that stores it.

Steps; the numbers stand in the code:

1. Before the transaction, and beside others: has the recording a fingerprint already, or which stored ones
   match its own?
2. In the transaction, the same bytes are the same recording: its campaign is known.
3. Else one transaction after the other looks at what was added since step 1, so that two copies which
   arrive at the same instant find each other, whichever process took them.
4. A recording that is a known announcement joins none. Common seconds that an announcement explains, such as
   one played before every message, make no two recordings alike.
5. What matches several campaigns shows that these are one: they are merged, but for those that a reviewer
   has split.
6. The call is counted; carriers hear of a campaign that has reached a set size.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from voiceguard.enforcement.changes import IS_ANNOUNCEMENT, SYSTEM, merge_into
from voiceguard.enforcement.pooling import evidence
from voiceguard.fingerprint import Fingerprint
from voiceguard.screening import Screening
from voiceguard.store import campaigns, outbox, schema, similar
from voiceguard.store.calls import NewCall
from voiceguard.store.campaigns import MOST_INDEXED, Size
from voiceguard.store.engine import reading
from voiceguard.store.outbox import EventType
from voiceguard.store.similar import COVERED, Similar

LEAST_BESIDE_ANNOUNCEMENT_S = 3.0
"""Seconds that two recordings must have in common beyond an announcement that both play."""
LEAST_TO_MERGE_S = 5.0
"""Seconds that a recording must have in common with each of two campaigns to make them one."""
MOST_INDEXED_AT_ALL = 10 * MOST_INDEXED
"""So many copies of one campaign are in the index at most, whatever they add."""

_INDEXED = sa.select(schema.campaigns.c.indexed).where(schema.campaigns.c.seq == sa.bindparam("campaign"))


@dataclass(frozen=True)
class LookUp:
    """What step 1 found."""

    fingerprint: Fingerprint | None
    """None where there is nothing to match by."""
    seen_seq: int = 0
    """The latest fingerprint that was there."""
    similar: tuple[Similar, ...] = ()


@dataclass(frozen=True)
class Joined:
    """Where a call belongs."""

    campaign_id: str | None = None
    calls: int = 0
    """How many calls the campaign has, this one with them."""
    announcement: str | None = None
    """Name of the announcement that the recording is."""
    how: str = "unmatchable"
    """``known`` bytes, ``joined``, ``new``, ``announcement``, or ``unmatchable``."""


def look_up(engine: sa.Engine, screening: Screening, fingerprint: Fingerprint | None) -> LookUp:
    """Do step 1; waits for no lock."""
    if fingerprint is None or not len(fingerprint.keys()):
        return LookUp(None)
    with reading(engine) as connection:
        if campaigns.print_of(connection, screening.sha256, screening.deciding_channel) is not None:
            return LookUp(fingerprint)
        seen_seq = similar.newest(connection)
        return LookUp(fingerprint, seen_seq, tuple(similar.find(connection, fingerprint)))


def join(
    connection: sa.Connection, call: NewCall, screening: Screening, found: LookUp, *, sizes: Sequence[int]
) -> Joined:
    """Do steps 2 to 6; the recording's row must have been written, the call's not yet.

    Parameters
    ----------
    connection
        Of the transaction that stores the call.
    call, screening
        What is stored.
    found
        The result of :func:`look_up` for the same screening.
    sizes
        At how many calls of a campaign its carriers are told.
    """
    if found.fingerprint is None:
        return Joined()
    said = evidence(screening)
    known = campaigns.print_of(connection, screening.sha256, screening.deciding_channel, lock=True)
    if known is not None:  # step 2
        if known.model != said.model:
            campaigns.say_anew(connection, known, said)
        if known.announcement_seq is not None:
            return _announcement(connection, known.announcement_seq)
        campaign_seq, how = known.campaign_seq, "known"
    else:
        placed = _place(connection, call, screening, found)
        if placed.announcement_seq is not None:
            return _announcement(connection, placed.announcement_seq)
        campaign_seq, how = placed.campaign_seq, placed.how
    assert campaign_seq is not None, "a fingerprint is of an announcement or in a campaign"
    size = campaigns.count_call(  # step 6
        connection, campaign_seq, carrier_id=call.carrier_id, started_at=call.started_at
    )
    tell_growth(connection, size, sizes, now=call.received_at)
    return Joined(size.id, size.calls, how=how)


def tell_growth(
    connection: sa.Connection,
    size: Size,
    sizes: Sequence[int],
    *,
    now: dt.datetime,
) -> None:
    """Tell every carrier with calls in the campaign, once for each set size that it reaches."""
    reached = max((one for one in sizes if one <= size.calls), default=0)
    if reached <= size.told_size:
        return
    table, carriers = schema.campaigns.c, schema.campaign_carriers.c
    row = connection.execute(
        sa.update(schema.campaigns)
        .where(table.seq == size.seq)
        .values(told_size=reached)
        .returning(table.verdict, table.first_seen_at, table.last_seen_at)
    ).one()
    counts = connection.execute(
        sa.select(carriers.carrier_id, carriers.calls).where(carriers.campaign_seq == size.seq)
    ).all()
    for carrier_id, own_calls in counts:
        outbox.enqueue(
            connection,
            EventType.CAMPAIGN_GROWN,
            carrier_id,
            {
                "campaign_id": size.id,
                "size": reached,
                "calls": size.calls,
                "own_calls": own_calls,
                "verdict": row.verdict,
                "first_seen_at": _rfc3339(row.first_seen_at),
                "last_seen_at": _rfc3339(row.last_seen_at),
            },
            now=now,
        )


@dataclass(frozen=True)
class _Placed:
    campaign_seq: int | None
    announcement_seq: int | None
    how: str


def _place(connection: sa.Connection, call: NewCall, screening: Screening, found: LookUp) -> _Placed:
    """Find the campaign of a recording that is new, and store its fingerprint."""
    assert found.fingerprint is not None
    campaigns.serialise(connection)  # step 3
    matching = list(found.similar)
    if similar.indexed_since(connection, found.seen_seq):
        matching += similar.find(connection, found.fingerprint, after_seq=found.seen_seq)
    matching = _up_to_date(connection, matching)
    announcement_seq, alike = sort_out(matching, found.fingerprint.speech_s)  # step 4
    campaign_seq, how = None, "announcement"
    indexed = False
    if announcement_seq is None:
        campaign_seq = _choose(connection, call, alike)  # step 5
        how = "new" if campaign_seq is None else "joined"
        if campaign_seq is None:
            campaign_seq, _ = campaigns.new(connection, now=call.received_at)
        indexed = _worth_indexing(connection, campaign_seq, found.fingerprint, alike)
    campaigns.add_print(
        connection,
        found.fingerprint,
        sha256=screening.sha256,
        channel=screening.deciding_channel,
        evidence=evidence(screening),
        campaign_seq=campaign_seq,
        announcement_seq=announcement_seq,
        indexed=indexed,
    )
    return _Placed(campaign_seq, announcement_seq, how)


def sort_out(matching: Sequence[Similar], speech_s: float) -> tuple[int | None, list[Similar]]:
    """Return the announcement that a recording is, if it is one, and the copies of it, best first."""
    spoken_s = 0.0
    for one in matching:
        if one.announcement_seq is not None:
            if one.match.common_s >= IS_ANNOUNCEMENT * speech_s:
                return one.announcement_seq, []
            spoken_s = max(spoken_s, one.match.common_s)
    least_s = spoken_s + LEAST_BESIDE_ANNOUNCEMENT_S if spoken_s else 0.0
    alike = [one for one in matching if one.campaign_seq is not None and one.match.common_s >= least_s]
    return None, sorted(alike, key=lambda one: (-one.match.score, one.print_seq))


def _up_to_date(connection: sa.Connection, matching: Sequence[Similar]) -> list[Similar]:
    """Drop fingerprints that were deleted since, and say where the others belong now."""
    if not matching:
        return []
    there = campaigns.still_there(connection, [one.print_seq for one in matching])
    return [
        replace(
            one,
            campaign_seq=there[one.print_seq].campaign_seq,
            announcement_seq=there[one.print_seq].announcement_seq,
        )
        for one in matching
        if one.print_seq in there
    ]


def together(
    alike: Iterable[tuple[int, float]], apart: Collection[frozenset[int]] = frozenset()
) -> list[int]:
    """Return which groups a recording shows to be one, the one that it belongs to first.

    Parameters
    ----------
    alike
        Group and common seconds of each stored copy that matches the recording, best match first.
    apart
        Pairs of groups that must not become one.
    """
    common_s: dict[int, float] = {}
    for group, seconds in alike:
        common_s[group] = max(common_s.get(group, 0.0), seconds)
    one: list[int] = []
    for group, seconds in common_s.items():
        enough = min(seconds, common_s[one[0]]) >= LEAST_TO_MERGE_S if one else True
        if enough and not any(frozenset((group, other)) in apart for other in one):
            one.append(group)
    return one


def _choose(connection: sa.Connection, call: NewCall, alike: Sequence[Similar]) -> int | None:
    """Return the campaign of the best match, after the merges that the others call for; None without any."""
    found = [(one.campaign_seq, one.match.common_s) for one in alike if one.campaign_seq is not None]
    seqs = {seq for seq, _ in found}
    one = together(found, campaigns.apart(connection, seqs) if len(seqs) > 1 else ())
    if not one:
        return None
    survivor, *gone = sorted(one)
    if gone:
        reason = f"{call.id} has {LEAST_TO_MERGE_S:g} s or more in common with each"
        merge_into(connection, survivor, gone, actor=SYSTEM, reason=reason, now=call.received_at)
    return survivor


def _worth_indexing(
    connection: sa.Connection, campaign_seq: int, fingerprint: Fingerprint, alike: Sequence[Similar]
) -> bool:
    indexed = connection.scalar(_INDEXED, {"campaign": campaign_seq}) or 0
    covered = max((one.match.common_s for one in alike), default=0.0) >= COVERED * fingerprint.speech_s
    return indexed < (MOST_INDEXED if covered else MOST_INDEXED_AT_ALL)


def _announcement(connection: sa.Connection, seq: int) -> Joined:
    table = schema.announcements.c
    name = connection.scalar(sa.select(table.name).where(table.seq == seq))
    return Joined(announcement=name, how="announcement")


def _rfc3339(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
