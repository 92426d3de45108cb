"""What goes over the wire as JSON about notices, reports and cases."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from voiceguard.api.models import CallIn, Moment
from voiceguard.enforcement.notices import MAX_FIELD_CHARS
from voiceguard.store.cases import State as CaseState
from voiceguard.store.notices import Kind, Notice, State
from voiceguard.store.reports import Progress

NOTICE_ID = "notice_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"
REPORT_ID = "report_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"
CASE_ID = "case_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"
_Said = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_FIELD_CHARS, pattern=r"^[^\x00]*$"),
]


class AnswerIn(BaseModel):
    """A provider's answer to a notice: what it found, what it did, or why it declines."""

    model_config = ConfigDict(extra="forbid")

    upstream_provider: _Said | None = Field(
        None, description="Who handed the calls over.", examples=["Gateway One"]
    )
    upstream_origid: _Said | None = Field(None, description="Its SHAKEN origid or OCN.")
    customer: _Said | None = Field(None, description="Your customer, if the calls began with one.")
    action_taken: _Said | None = Field(None, description="What you did.", examples=["Closed the trunk."])
    declined_reason: _Said | None = Field(None, description="Why you decline to answer.")
    comment: _Said | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any((self.upstream_provider, self.customer, self.action_taken, self.declined_reason)):
            raise ValueError("expected upstream_provider, customer, action_taken or declined_reason")
        if self.declined_reason and (self.upstream_provider or self.customer):
            raise ValueError("expected either an answer or declined_reason, got both")
        return self


class DisputeIn(BaseModel):
    """A provider's objection to a notice."""

    model_config = ConfigDict(extra="forbid")

    reason: _Said = Field(examples=["The customer has documented consent of every called person."])


class NoticeOut(BaseModel):
    """A notice to a provider."""

    id: str = Field(examples=[NOTICE_ID])
    number: str = Field(description="What letters and mails call it.", examples=["2026-0007-N1"])
    kind: Kind
    provider: str
    state: State
    urgent: bool = Field(description="Whether the one on duty was paged.")
    late: bool = Field(description="Whether the answer is overdue.")
    subject: str
    body: str = Field(description="Markdown, as it went out.")
    calls: int = Field(description="How many calls it is about; /calls lists them.")
    sent_at: Moment | None
    due_at: Moment | None = Field(description="Until when to answer.")
    acknowledged_at: Moment | None
    answered_at: Moment | None = Field(description="When it was answered or disputed.")
    answer: dict[str, str] | None

    @classmethod
    def of(cls, notice: Notice, *, late: bool) -> Self:
        """Return a notice as the API says it."""
        names = set(cls.model_fields) - {"late", "calls"}
        return cls(**{name: getattr(notice, name) for name in names}, calls=len(notice.call_ids), late=late)


class NoticePage(BaseModel):
    """One page of a list."""

    data: list[NoticeOut]
    next_cursor: str | None


class NoticeCall(BaseModel):
    """A call of a notice, with the fields of a traceback request; what is not known is empty."""

    model_config = ConfigDict(from_attributes=True)

    call_datetime: str = Field(examples=["2026-03-01T14:05:00Z"])
    calling_tn: str
    called_tn: str
    terminating_provider: str
    upstream_provider: str
    campaign_name: str
    reason: str
    recording_link: str
    callback_number: str
    attestation: str
    verification: str
    origid: str
    carrier_call_id: str
    call_id: str
    recording_sha256: str


class NoticeCalls(BaseModel):
    """The calls of a notice."""

    data: list[NoticeCall]


class ReportIn(CallIn):
    """The part ``call`` of a report: a call, and why it is reported."""

    note: Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")] = Field(
        "", description="What you noticed.", examples=["Three customers were asked for bail money."]
    )
    urgent: bool = Field(False, description="Whether to page the agency's duty at once.")


class ReportOut(BaseModel):
    """A call that you reported, and what became of it."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=[REPORT_ID])
    call_id: str
    note: str
    urgent: bool
    created_at: Moment
    progress: Progress = Field(
        description="received, confirmed or dismissed by a reviewer, in_case, or closed with its case."
    )
    outcome: str | None = Field(description="How the case ended, once it is closed.")


class ReportPage(BaseModel):
    """One page of a list."""

    data: list[ReportOut]
    next_cursor: str | None


class CaseSummary(BaseModel):
    """A case in a list."""

    id: str = Field(examples=[CASE_ID])
    number: str = Field(examples=["2026-0007"])
    title: str
    state: CaseState
    outcome: str | None
    owner: str | None
    opened_at: Moment
    changed_at: Moment
    closed_at: Moment | None
    members: int = Field(description="Calls and campaigns that were put into it.")
    open_tasks: int
    notices: int = Field(description="That went out.")
    waiting: int = Field(description="Notices that wait for an answer.")
    next_due_at: Moment | None


class CasePage(BaseModel):
    """One page of a list."""

    data: list[CaseSummary]
    next_cursor: str | None


class MemberOut(BaseModel):
    """A call or a campaign of a case."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    object_id: str
    added_at: Moment


class CaseEvent(BaseModel):
    """A line of a case's history."""

    model_config = ConfigDict(from_attributes=True)

    at: Moment
    actor: str
    action: str


class CaseOut(CaseSummary):
    """A case with what is in it."""

    contents: list[MemberOut]
    notices_sent: list[NoticeOut]
    history: list[CaseEvent]
