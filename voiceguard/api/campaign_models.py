"""What goes over the wire as JSON about campaigns."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from voiceguard.api.models import CallSummary, Moment
from voiceguard.store.campaign_views import Campaign
from voiceguard.verdict import Reason, Verdict

CAMPAIGN_ID = "campaign_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"


class CopyOut(BaseModel):
    """The copy that decides; where it is another carrier's, without what names it."""

    sha256: str | None = Field(description="Null if no call of yours carried this copy.")
    call_id: str | None = Field(description="Your first call that carried it; null if none did.")
    codec: str
    duration_s: float
    speech_s: float
    quality: float = Field(
        description="0–1, from seconds of speech, noise, bandwidth, clipping and codec.", examples=[0.73]
    )
    verdict: Verdict
    reason: Reason | None
    score: float | None
    model: str


class SpreadOut(BaseModel):
    """How the scores of the copies differ; they are one audio, so they don't add up."""

    model_config = ConfigDict(from_attributes=True)

    copies: int = Field(description="Recordings with different bytes.")
    lowest: float | None
    highest: float | None
    mean: float | None


class CampaignSummary(BaseModel):
    """A campaign: numbers over all carriers, names of your own calls only."""

    id: str = Field(examples=[CAMPAIGN_ID])
    created_at: Moment
    calls: int = Field(description="Calls of all carriers.", examples=[212])
    own_calls: int = Field(description="Calls of yours.", examples=[17])
    first_seen_at: Moment | None = Field(description="When the first of the calls began.")
    last_seen_at: Moment | None
    carriers: int = Field(description="How many carriers posted such calls.")
    callers: int = Field(description="How many numbers called.")
    callees: int = Field(description="How many numbers were called.")
    attestations: dict[str, int] = Field(
        description="Calls by attestation level; none stands for those without.",
        examples=[{"A": 3, "C": 201, "none": 8}],
    )
    prerecorded: bool = Field(
        description="The recording was heard in more than one call. Evidence of its own, apart from the verdict."
    )
    verdict: Verdict | None = Field(description="That of the strongest recording.")
    reason: Reason | None
    score: float | None
    strongest_recording: CopyOut | None = Field(description="The copy with the best quality, which decides.")
    scores: SpreadOut
    merged_ids: list[str] = Field(
        description="Campaigns that were merged into this one; their ids answer with it."
    )

    @classmethod
    def of(cls, campaign: Campaign) -> Self:
        """Return a campaign as a carrier may see it."""
        best = campaign.strongest
        strongest = None
        if best is not None:
            own = best.call_id is not None
            strongest = CopyOut(
                sha256=best.sha256 if own else None,
                call_id=best.call_id,
                codec=best.codec,
                duration_s=best.duration_s,
                speech_s=best.speech_s,
                quality=best.quality,
                verdict=best.verdict,
                reason=best.reason,
                score=best.score,
                model=best.model,
            )
        return cls(
            id=campaign.id,
            created_at=campaign.created_at,
            calls=campaign.calls,
            own_calls=campaign.own_calls,
            first_seen_at=campaign.first_seen_at,
            last_seen_at=campaign.last_seen_at,
            carriers=campaign.carriers,
            callers=campaign.callers,
            callees=campaign.callees,
            attestations=campaign.attestations,
            prerecorded=campaign.prerecorded,
            verdict=campaign.verdict,
            reason=campaign.reason,
            score=campaign.score,
            strongest_recording=strongest,
            scores=SpreadOut.model_validate(campaign.spread),
            merged_ids=list(campaign.merged_ids),
        )


class CampaignPage(BaseModel):
    """One page of a list."""

    data: list[CampaignSummary]
    next_cursor: str | None = Field(
        description="Send it as cursor for the next page; null: this is the last."
    )


class CampaignOut(CampaignSummary):
    """A campaign with a page of your calls in it, latest arrival first."""

    merged_from: str | None = Field(
        description="The id that was asked for, if that campaign was merged into this one.",
        examples=[None],
    )
    data: list[CallSummary] = Field(description="Your calls.")
    next_cursor: str | None = Field(
        description="Send it as cursor for the next page of calls; null: this is the last."
    )
