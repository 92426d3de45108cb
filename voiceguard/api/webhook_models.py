"""What goes over the wire as JSON about webhooks and their deliveries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from voiceguard.api.addresses import MAX_URL_CHARS
from voiceguard.api.models import Moment
from voiceguard.store.outbox import State

Wanted = Literal[
    "call.screened", "call.flagged", "campaign.grown", "stream.verdict", "notice.sent", "notice.reminded"
]
Events = Annotated[
    list[Wanted],
    Field(
        min_length=1,
        max_length=10,
        description="call.screened: every call; call.flagged: those whose verdict is synthetic; campaign.grown: "
        "a campaign with calls of yours has reached a set size; stream.verdict: a live call has a verdict before "
        "its end; notice.sent: a notice to you went out; notice.reminded: one waits for an answer, or is late.",
    ),
]
Url = Annotated[
    str,
    Field(
        max_length=MAX_URL_CHARS,
        description="https, to an address on the open internet.",
        examples=["https://example.com/voiceguard"],
    ),
]


class WebhookIn(BaseModel):
    """A webhook to create."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events = Field(default=["call.screened", "call.flagged"])


class WebhookChange(BaseModel):
    """What to change in a webhook; what is null or left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = Field(
        None, description="A disabled webhook gets no new events; what was on the way waits."
    )


class WebhookOut(BaseModel):
    """A webhook."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    url: str
    events: list[str]
    created_at: Moment
    disabled_at: Moment | None
    disabled_reason: str | None = Field(description="Who disabled it, the carrier or the endpoint's 410.")
    previous_secret_until: Moment | None = Field(
        description="Until then the secret before the last rotation signs too."
    )


class WebhookWithSecret(WebhookOut):
    """A webhook and its secret, which is shown this once."""

    secret: str = Field(examples=["whsec_…"])


class WebhookPage(BaseModel):
    """One page of a list."""

    data: list[WebhookOut]
    next_cursor: str | None


class AttemptOut(BaseModel):
    """One attempt."""

    model_config = ConfigDict(from_attributes=True)

    attempted_at: Moment
    duration_s: float
    status: int | None = Field(description="HTTP status of the endpoint's answer, null without one.")
    error: str | None = Field(
        description="Null if delivered, else: status, redirect, gone, timeout, connection, tls, "
        "name_not_found or address_not_public."
    )


class DeliveryOut(BaseModel):
    """One event on its way to one webhook."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    event_id: str = Field(description="The webhook-id that the receiver sees, the same at every attempt.")
    type: str
    state: State
    created_at: Moment
    delivered_at: Moment | None
    next_attempt_at: Moment | None
    attempts: list[AttemptOut]


class DeliveryPage(BaseModel):
    """One page of a list."""

    data: list[DeliveryOut]
    next_cursor: str | None


class EventOut(BaseModel):
    """An event that was put on its way."""

    event_id: str
