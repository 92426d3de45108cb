"""A screened call and all that hangs on it, in one transaction: posted, live and imported calls alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from voiceguard.enforcement import campaigns
from voiceguard.enforcement.campaigns import Joined, LookUp
from voiceguard.screening import Screening
from voiceguard.store import audit, calls, commitments, decisions
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import writing
from voiceguard.store.recordings import Recordings


def commit(
    engine: sa.Engine,
    recordings: Recordings,
    call: NewCall,
    screening: Screening,
    found: LookUp,
    *,
    actor: str,
    carrier: str,
    sizes: Sequence[int],
    random_share: float,
    beside: Callable[[sa.Connection, Joined], None] | None = None,
) -> Joined:
    """Commit a call whose recording is in the store: call, screening, campaign, review, audit rows.

    Parameters
    ----------
    found
        The result of :func:`voiceguard.enforcement.campaigns.look_up` for the same screening.
    actor, carrier
        Who brings the call, by id, and its carrier's name, for the audit log.
    sizes
        At how many calls of a campaign its carriers are told.
    random_share
        Share of calls that were not flagged and are reviewed all the same.
    beside
        Writes what else belongs to the transaction.
    """
    acts = commitments.received(call, screening, actor=actor, carrier=carrier)
    with writing(engine) as connection:
        calls.claim(connection, recordings, screening)
        joined = campaigns.join(connection, call, screening, found, sizes=sizes)
        calls.insert_claimed(
            connection, call, screening, campaign_id=joined.campaign_id, announcement=joined.announcement
        )
        decisions.enrol(connection, call.id, screening, random_share=random_share)
        if beside is not None:
            beside(connection, joined)
        audit.append(connection, *acts)
    return joined
