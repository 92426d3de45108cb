"""What goes over the wire as JSON: a call as it is posted, a call and a screening as they are answered."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated, Any, Self

import phonenumbers
from cryptography import x509
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

from voiceguard.screening import ChannelScreening, Screening
from voiceguard.store.calls import Call, NewCall
from voiceguard.verdict import Reason, Verdict

MAX_CERTIFICATES = 16
"""Most certificates beside a call's Identity headers: each may be tried as a signer's."""
_PLAIN = r"^[^\x00-\x1f\x7f]*$"  # no control characters: these fields stand in logs, tables and reports


def _e164(value: str) -> str:
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        raise ValueError("expected a phone number in E.164 such as +12025550123") from None
    # Possible, not valid: spoofed callers use numbers that nobody was given.
    if number.extension or not phonenumbers.is_possible_number(number):
        raise ValueError("expected a phone number in E.164 such as +12025550123, got an impossible one")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _moment_text(value: Any) -> Any:
    if not isinstance(value, str | dt.datetime):
        raise ValueError("expected a time as text, such as 2026-03-01T14:05:00Z")
    return value


def _in_utc(value: dt.datetime) -> dt.datetime:
    if not 1970 <= value.year <= 2199:
        raise ValueError("expected a time between 1970 and 2199")
    return value.astimezone(dt.UTC)


def _rfc3339(value: dt.datetime) -> str:
    return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


PhoneNumber = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_e164), Field(examples=["+12025550123"])
]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment_text),
    AfterValidator(_in_utc),
    PlainSerializer(_rfc3339, return_type=str),
    Field(examples=["2026-03-01T14:05:00Z"]),
]


def _pem(value: str) -> str:
    try:
        found = x509.load_pem_x509_certificates(value.encode("utf-8", "replace"))
    except ValueError:
        raise ValueError("expected certificates in PEM, got something else") from None
    if len(found) > MAX_CERTIFICATES:
        raise ValueError(f"expected at most {MAX_CERTIFICATES} certificates, got {len(found)}")
    return value


def _text(most: int, *examples: str) -> Any:
    return Annotated[
        str, StringConstraints(min_length=1, max_length=most, pattern=_PLAIN), Field(examples=list(examples))
    ]


class CallIn(BaseModel):
    """The part ``call``: what the carrier knows of a call."""

    model_config = ConfigDict(extra="forbid")

    started_at: Moment = Field(description="When the call began, with a zone offset.")
    caller: PhoneNumber | None = Field(None, description="E.164; null if withheld.")
    callee: PhoneNumber | None = Field(None, description="E.164.")
    carrier_call_id: _text(255, "a84b4c76e66710@pc33") | None = Field(  # type: ignore[valid-type]
        None, description="The carrier's own id, such as the SIP Call-ID."
    )
    identity: str | list[str] | None = Field(
        None, description="The SIP Identity header or headers as received."
    )
    identity_certificates: Annotated[str, AfterValidator(_pem)] | None = Field(
        None,
        description="PEM: the signers' certificates and their intermediates, as your verification service "
        "fetched them.",
    )
    attestation: str | dict[str, Any] | None = Field(
        None,
        description="What the switch says of the attestation: a letter, a verstat value, or its own fields.",
        examples=["TN-Validation-Passed-A"],
    )
    upstream_provider: _text(255, "Gateway Telecom") | None = Field(  # type: ignore[valid-type]
        None, description="Who handed the call over."
    )
    recording_basis: _text(64, "voicemail") | None = Field(  # type: ignore[valid-type]
        None, description="On what ground the call was recorded: consent, voicemail, honeypot, court order, …"
    )
    remote_channel: Annotated[int, Field(strict=True, ge=0, le=63)] | None = Field(
        None, description="Channel of the party to judge, from 0; null: the channel with the highest score."
    )


class ScreenIn(BaseModel):
    """The part ``call`` of a screening that is not stored; what else a call says is not looked at."""

    remote_channel: Annotated[int, Field(strict=True, ge=0, le=63)] | None = None


class ScreeningSummary(BaseModel):
    """A screening without its channels."""

    verdict: Verdict
    reason: Reason | None
    score: float | None = Field(description="Natural-log likelihood ratio, synthetic over human.")
    probability: float | None
    threshold: float = Field(description="Score from which a channel is synthetic.")
    review_threshold: float = Field(description="Score from which a person should listen.")
    model: str
    sha256: str
    size_bytes: int
    container: str
    codec: str
    rate_hz: int
    duration_s: float
    speech_s: float = Field(description="Seconds of speech in the deciding channel.")
    deciding_channel: int

    @classmethod
    def of(cls, screening: Screening) -> Self:
        """Return the screening as it is answered."""
        decision = screening.decision
        values = {field.name: getattr(screening, field.name) for field in dataclasses.fields(screening)}
        return cls(
            **{name: value for name, value in values.items() if name in cls.model_fields},
            verdict=decision.verdict,
            reason=decision.reason,
            score=decision.score,
            probability=decision.probability,
            speech_s=decision.quality.speech_s,
        )


class ScreeningOut(ScreeningSummary):
    """A screening with each channel's windows, speech and quality."""

    channels: tuple[ChannelScreening, ...]


class AttestationOut(BaseModel):
    """What is known of the call's attestation."""

    level: str | None = Field(description="A, B or C.")
    verification: str
    origid: str | None
    notes: list[str]


class StreamOut(BaseModel):
    """How a live call came."""

    protocol: str
    stream_id: str
    complete: bool = Field(description="False: the connection broke, or the stream was cut off.")
    ended: str = Field(description="Why it ended.")
    tracks: list[str]
    lost_s: float = Field(description="Seconds that did not arrive and are silence in the recording.")
    paused_s: float = Field(description="Seconds that the sender left out and are silence in the recording.")
    late: int = Field(description="Messages that came twice or too late.")
    notes: list[str] = Field(description="What the sender said of the call and could not be understood.")


class _CallBase(BaseModel):
    id: str = Field(examples=["call_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"])
    carrier_id: str
    carrier_call_id: str | None
    caller: str | None
    callee: str | None
    started_at: Moment
    received_at: Moment
    attestation: AttestationOut | None
    upstream_provider: str | None
    recording_basis: str | None
    remote_channel: int | None
    stream: StreamOut | None = Field(None, description="How a live call came; null for a posted one.")
    campaign_id: str | None = Field(description="The campaign that the recording belongs to.")
    prerecorded: bool = Field(
        False,
        description="The same recording was heard in another call too. Evidence of its own, apart from the "
        "verdict.",
    )
    announcement: str | None = Field(
        None,
        description="Name of the network's announcement that the recording is; such a call is in no campaign.",
    )


class CallSummary(_CallBase):
    """A call in a list."""

    screening: ScreeningSummary

    @classmethod
    def of(cls, call: Call, screening: Screening) -> Self:
        """Return the call as it stands in a list."""
        said = {"prerecorded": call.prerecorded, "screening": ScreeningSummary.of(screening)}
        return cls.model_validate({**dataclasses.asdict(call), **said})


class CallOut(_CallBase):
    """A call and its screening."""

    identity: str | None
    passports: list[dict[str, Any]] | None = Field(
        description="The PASSporTs read from identity; if it can't be read, one entry whose error says why."
    )
    screening: ScreeningOut

    @classmethod
    def of(cls, call: NewCall, screening: Screening) -> Self:
        """Return the call as it is answered; one that is not stored yet is in no campaign."""
        said = {"campaign_id": None, "prerecorded": isinstance(call, Call) and call.prerecorded}
        values = {**said, **dataclasses.asdict(call), "screening": ScreeningOut.of(screening)}
        return cls.model_validate(values)


class CallPage(BaseModel):
    """One page of a list."""

    data: list[CallSummary]
    next_cursor: str | None = Field(
        description="Send it as cursor for the next page; null: this is the last."
    )
