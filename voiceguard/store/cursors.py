"""Opaque cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
import re


def encode(seq: int) -> str:
    """Return the cursor of the page that follows row ``seq``."""
    return base64.urlsafe_b64encode(f"1:{seq}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """Return the row's ``seq``; raise ValueError if `encode` did not make the cursor."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except ValueError as error:
        raise ValueError("expected a cursor of an earlier page") from error
    match = re.fullmatch(r"1:([0-9]{1,18})", text, re.ASCII)
    if match is None:
        raise ValueError("expected a cursor of an earlier page")
    return int(match[1])
