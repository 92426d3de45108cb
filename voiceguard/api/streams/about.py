"""What a stream's sender says of the call, read leniently: a live call can't be sent again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from voiceguard.api.models import CallIn

KEY = "key"
_FIELDS = frozenset(CallIn.model_fields) - {"started_at"}


@dataclass(frozen=True)
class About:
    """A call as its stream tells of it."""

    call: CallIn
    notes: tuple[str, ...]
    """Fields that could not be understood and were left out."""


def read_about(call_id: str, *sources: Mapping[str, Any]) -> About:
    """Gather the fields of the part ``call`` from ``sources``, earlier ones first.

    A field that a posted call would be refused for is left out with a note: ``anonymous`` as a caller must not
    keep the call from being heard.
    """
    now = dt.datetime.now(dt.UTC)
    given: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            if name in _FIELDS and name not in given and value not in ("", None):
                given[name] = int(value) if name == "remote_channel" and str(value).isdecimal() else value
    if call_id:
        given.setdefault("carrier_call_id", call_id)
    notes = []
    for name, value in list(given.items()):
        try:
            CallIn.model_validate({"started_at": now, name: value})
        except ValidationError as error:
            notes.append(f"{name}: {error.errors(include_url=False)[0]['msg'].removeprefix('Value error, ')}")
            del given[name]
    return About(CallIn.model_validate({"started_at": now, **given}), tuple(notes))


def printable(text: str) -> str:
    """Replace control characters and surrogates, which neither logs nor PostgreSQL's JSON take."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)
