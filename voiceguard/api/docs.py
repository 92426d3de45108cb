"""What /openapi.json says beyond what the code's types say by themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

from voiceguard.api import problems

AUDIO = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

CallId = Annotated[str, Path(examples=["call_0f3c9d8c1d4e4b1f9a6e5c7b2a1d0e4f"])]

_EXAMPLE_CALL = {
    "started_at": "2026-03-01T14:05:00Z",
    "caller": "+12025550123",
    "callee": "+12025550188",
    "carrier_call_id": "a84b4c76e66710@pc33",
    "attestation": "TN-Validation-Passed-A",
    "recording_basis": "voicemail",
}


class ProblemOut(BaseModel):
    """An error as RFC 9457 problem details."""

    type: str = Field(
        description="Stable address of the kind; /problems lists all.", examples=["/problems/not_found"]
    )
    title: str
    status: int
    detail: str = Field(description="What was expected and what came.")
    remedy: str = Field(description="What to do.")
    request_id: str | None
    errors: list[dict[str, str]] | None = Field(
        None, description="In invalid_request: each place and its fault."
    )


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of the problems that a route answers."""
    by_status: dict[int, list[str]] = {}
    for kind in problems.kinds().values():
        by_status.setdefault(kind.status, []).append(kind.code)
    return {
        status: {
            "model": ProblemOut,
            "description": "A problem of type " + ", ".join(by_status[status]) + ".",
            "content": {problems.MEDIA_TYPE: {}},
        }
        for status in (*statuses, 500)
    }


def multipart(call: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Return the documentation of a body that the route reads by itself, as it streams in."""
    schema = {
        "type": "object",
        "required": ["audio", "call"] if required else ["audio"],
        "properties": {
            "audio": {"type": "string", "format": "binary", "description": "The recording as received."},
            "call": call.model_json_schema(ref_template="#/components/schemas/{model}"),
        },
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": schema,
                    "encoding": {"call": {"contentType": "application/json"}},
                    "example": {
                        "audio": "(bytes)",
                        "call": _EXAMPLE_CALL if required else {"remote_channel": 0},
                    },
                }
            },
        }
    }
