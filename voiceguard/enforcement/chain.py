"""Who is responsible: the providers in a call's path, as far as they are known, and what says so.

Three things say it, each marked with its basis. Who posted the call is where it ended. The carrier names who
handed the call over. A SHAKEN token's ``origid`` names who signed: with level A or B a provider that knows the
customer, so the originating one, with level C a gateway that only knows where the call came in (ATIS-1000074,
section 5.2.3). A provider's answer to a traceback names the one before it, hop by hop.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from voiceguard.store import providers as known
from voiceguard.store.exhibits import CaseCall
from voiceguard.store.notices import Kind, Notice
from voiceguard.store.notices import State as NoticeState
from voiceguard.store.providers import Provider


class Part(enum.StrEnum):
    """A provider's part in a call's path."""

    ORIGINATING = "originating"
    GATEWAY = "gateway"
    TRANSIT = "transit"
    TERMINATING = "terminating"


_ORDER = list(Part)


@dataclass(frozen=True)
class Link:
    """One provider of the chain."""

    part: Part
    name: str
    """The provider's, or an origid that no known provider has."""
    basis: str
    """``posted the calls``, ``named by the carrier``, ``signed the calls`` or the number of a notice."""
    calls: int
    provider_id: str | None = None
    origid: str | None = None
    attestations: dict[str, int] = field(default_factory=dict)
    """Calls by attestation level; ``none`` stands for those without."""


def chain(
    calls: Sequence[CaseCall], providers: Sequence[Provider], notices: Sequence[Notice] = ()
) -> list[Link]:
    """Return the providers in the path of some calls, from the origin to the end, the most calls first.

    Parameters
    ----------
    calls
        Such as those of a campaign.
    providers
        All that are known.
    notices
        Of the case: what was answered about these calls.
    """
    by_name = {one.name.lower(): one for one in providers}
    by_carrier = {one.carrier_id: one for one in providers if one.carrier_id}
    by_origid = known.by_origid(providers)
    found: dict[tuple[Part, str, str, str | None], list[CaseCall]] = {}
    ids: dict[str, str] = {}

    def _note(part: Part, name: str, basis: str, provider: Provider | None, call: CaseCall) -> None:
        if provider is not None:
            ids[provider.name] = provider.id
            name = provider.name
        origid = call.origid if basis == "signed the calls" else None
        found.setdefault((part, name, basis, origid), []).append(call)

    for call in calls:
        _note(Part.TERMINATING, call.carrier, "posted the calls", by_carrier.get(call.carrier_id), call)
        if call.upstream_provider:
            upstream = by_name.get(call.upstream_provider.lower())
            _note(Part.TRANSIT, call.upstream_provider, "named by the carrier", upstream, call)
        if call.origid:
            part = Part.GATEWAY if call.level == "C" else Part.ORIGINATING
            _note(part, call.origid, "signed the calls", by_origid.get(call.origid.lower()), call)
    links = [
        Link(
            part=part,
            name=name,
            basis=basis,
            calls=len(mine),
            provider_id=ids.get(name),
            origid=origid,
            attestations=dict(Counter(one.level or "none" for one in mine)),
        )
        for (part, name, basis, origid), mine in found.items()
    ]
    wanted = {call.id for call in calls}
    for notice in notices:
        links += _answered(notice, len(wanted & set(notice.call_ids)), by_name)
    return sorted(links, key=lambda one: (_ORDER.index(one.part), -one.calls, one.name))


def _answered(notice: Notice, calls: int, by_name: dict[str, Provider]) -> list[Link]:
    """Return what a provider's answer to a traceback says of the path."""
    said = notice.answer or {}
    if notice.kind is not Kind.TRACEBACK or notice.state is not NoticeState.ANSWERED or not calls:
        return []
    if said.get("upstream_provider"):
        upstream = by_name.get(said["upstream_provider"].lower())
        return [
            Link(
                part=Part.TRANSIT,
                name=upstream.name if upstream else said["upstream_provider"],
                basis=notice.number,
                calls=calls,
                provider_id=upstream.id if upstream else None,
            )
        ]
    if said.get("customer"):
        return [Link(Part.ORIGINATING, notice.provider, notice.number, calls, notice.provider_id)]
    return []


def of_provider(calls: Sequence[CaseCall], provider: Provider) -> list[CaseCall]:
    """Return the calls in whose path a provider is known to stand."""
    origids = {one.lower() for one in provider.origids}
    return [
        call
        for call in calls
        if (provider.carrier_id is not None and call.carrier_id == provider.carrier_id)
        or (call.upstream_provider or "").lower() == provider.name.lower()
        or (call.origid or "").lower() in origids
    ]
