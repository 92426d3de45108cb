"""Templates of notices: Markdown whose first line is the subject, with fields such as ``{{provider}}``.

The shipped ones, in ``templates/``, become version 1 when they are first used; a change makes a new version, and
every notice names the one that it was made from.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from importlib import resources

import sqlalchemy as sa

from voiceguard.errors import VoiceGuardError
from voiceguard.store import audit, notices
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import writing
from voiceguard.store.notices import Kind, Template

FIELDS = {
    "number": "the notice's number",
    "case_number": "the case's number",
    "agency": "VOICEGUARD_AGENCY",
    "provider": "the provider's name",
    "date": "the day it is sent",
    "due": "until when the provider has to answer",
    "calls": "how many calls",
    "first_call": "when the first of them began",
    "last_call": "when the last of them began",
    "callers": "their numbers, at most ten",
    "finding": "what the screening found, in words",
    "calls_link": "link to the list of calls",
    "evidence_link": "link to the evidence package",
    "links_end": "until when the links open",
}
"""What a template may say, and what stands for it."""
AT_SENDING = frozenset({"date", "due", "calls_link", "evidence_link", "links_end"})
"""Fields that get their value when the notice goes out."""
MUST_SAY = "appears to be a synthetic voice"
"""A notice says what the audio supports and no more."""
MAX_SUBJECT_CHARS = 200
MAX_BODY_CHARS = 20_000
_FIELD = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


class TemplateError(VoiceGuardError):
    """The template can't be saved."""

    code = "template_error"
    remedy = "Correct it; the version before is still in use."


def check(subject: str, body: str) -> None:
    """Raise `TemplateError` unless a text can be a template."""
    if not 1 <= len(subject.strip()) <= MAX_SUBJECT_CHARS or "\n" in subject.strip():
        raise TemplateError(f"Expected a subject of one line and at most {MAX_SUBJECT_CHARS} characters.")
    if not 1 <= len(body.strip()) <= MAX_BODY_CHARS:
        raise TemplateError(f"Expected a text of 1 to {MAX_BODY_CHARS} characters, got {len(body.strip())}.")
    unknown = sorted({name for text in (subject, body) for name in _FIELD.findall(text)} - set(FIELDS))
    if unknown:
        raise TemplateError(f"Expected the fields {', '.join(FIELDS)}; got {', '.join(unknown)}.")
    if any(name in AT_SENDING for name in _FIELD.findall(subject)):
        raise TemplateError("Expected no link and no date of sending in the subject.")
    if " ".join(MUST_SAY.split()) not in " ".join(body.split()):
        raise TemplateError(f'Expected the words "{MUST_SAY}": a notice says what the audio supports.')
    if "evidence_link" not in _FIELD.findall(body):
        raise TemplateError("Expected the field {{evidence_link}}: a notice cites its evidence.")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values for the fields that ``values`` has; others stay."""
    return _FIELD.sub(lambda match: values.get(match[1], match[0]), text)


def plain(value: str) -> str:
    """Make text of strangers safe to stand in Markdown: one line, nothing of it is markup."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())
    return re.sub(r"([\\`*_{}\[\]()<>#!|~])", r"\\\1", line)


def shipped(kind: Kind) -> tuple[str, str]:
    """Return subject and text of the template that comes with VoiceGuard."""
    text = (resources.files("voiceguard.enforcement") / "templates" / f"{kind.value}.md").read_text("utf-8")
    subject, _, body = text.partition("\n")
    return subject.strip(), body.strip() + "\n"


def ensure(connection: sa.Connection, *, now: dt.datetime) -> None:
    """Write the shipped templates that were never used, in a transaction that writes."""
    for kind in Kind:
        if notices.template(connection, kind) is None:
            subject, body = shipped(kind)
            notices.add_template(connection, Template(kind, 1, subject, body, "voiceguard", now))


def save(engine: sa.Engine, kind: Kind, subject: str, body: str, *, actor: str, now: dt.datetime) -> Template:
    """Make a new version of a template.

    Raises
    ------
    TemplateError
        It has unknown fields, or lacks what every notice must say.
    """
    subject, body = subject.strip(), body.replace("\r\n", "\n").strip() + "\n"
    check(subject, body)
    with writing(engine) as connection:
        ensure(connection, now=now)
        newest = notices.template(connection, kind)
        assert newest is not None, "ensure() wrote one"
        new = Template(kind, newest.version + 1, subject, body, actor, now)
        notices.add_template(connection, new)
        said = {"version": new.version, "sha256": audit.digest(f"{subject}\n{body}")}
        audit.append(connection, Act(actor, Action.TEMPLATE_SAVED, f"template_{kind.value}", said))
    return new
