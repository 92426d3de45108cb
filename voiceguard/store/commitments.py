"""What the audit log says of a call: hashes of its facts and of its screening.

The log outlives the call and holds no phone numbers, yet the facts must not change behind its back. So it
holds the SHA-256 of the facts as canonical JSON with a random salt among them. Without the salt, which is
deleted with the call, the hash tells nothing, also to someone who tries all phone numbers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from voiceguard.screening import Screening
from voiceguard.store.audit import Act, Action, canonical, digest, moment
from voiceguard.store.calls import NewCall


def call_facts(call: NewCall, recording_sha256: str) -> dict[str, Any]:
    """Return what was said of a call when it was posted; `passports` is left out, it is read from `identity`."""
    return {
        "id": call.id,
        "carrier_id": call.carrier_id,
        "carrier_call_id": call.carrier_call_id,
        "caller": call.caller,
        "callee": call.callee,
        "started_at": moment(call.started_at),
        "received_at": moment(call.received_at),
        "identity": call.identity,
        "attestation": call.attestation,
        "upstream_provider": call.upstream_provider,
        "recording_basis": call.recording_basis,
        "remote_channel": call.remote_channel,
        "recording_sha256": recording_sha256,
        "salt": call.salt,
    }


def screening_facts(screening: Screening) -> dict[str, Any]:
    """Return a screening as JSON, with every channel's windows, speech and quality."""
    return dataclasses.asdict(screening)


def facts_sha256(facts: dict[str, Any]) -> str:
    """Return the hash of facts."""
    return digest(canonical(facts))


def received(call: NewCall, screening: Screening, *, actor: str, carrier: str) -> tuple[Act, Act]:
    """Return the acts of a call that was received and screened."""
    decision = screening.decision
    return (
        Act(
            actor,
            Action.CALL_RECEIVED,
            call.id,
            {
                "carrier_id": call.carrier_id,
                "carrier": carrier,
                "call_sha256": facts_sha256(call_facts(call, screening.sha256)),
                "recording_sha256": screening.sha256,
                "size_bytes": screening.size_bytes,
            },
        ),
        Act(
            "voiceguard",
            Action.CALL_SCREENED,
            call.id,
            {
                "screening_sha256": facts_sha256(screening_facts(screening)),
                "recording_sha256": screening.sha256,
                "model": screening.model,
                "verdict": decision.verdict,
                "reason": decision.reason,
                "score": decision.score,
                "threshold": screening.threshold,
            },
        ),
    )
