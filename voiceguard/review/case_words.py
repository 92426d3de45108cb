"""What the pages say about cases and notices, in plain words."""

from __future__ import annotations

import datetime as dt
import re

from markdown_it import MarkdownIt
from markupsafe import Markup

from voiceguard.enforcement.cases import OUTCOMES
from voiceguard.enforcement.chain import Part
from voiceguard.enforcement.notices import ANSWER_FIELDS, KINDS
from voiceguard.store.cases import Event, State
from voiceguard.store.messages import State as MessageState
from voiceguard.store.notices import State as NoticeState

CASE_STATES = {
    State.OPEN: "Open",
    State.NOTICED: "Notice is out",
    State.ANSWERED: "Answered",
    State.CLOSED: "Closed",
}
CASE_OUTCOMES = OUTCOMES
NOTICE_KINDS = KINDS
NOTICE_STATES = {
    NoticeState.DRAFT: "Draft",
    NoticeState.SENT: "Sent",
    NoticeState.ACKNOWLEDGED: "Acknowledged",
    NoticeState.ANSWERED: "Answered",
    NoticeState.DISPUTED: "Disputed",
    NoticeState.WITHDRAWN: "Withdrawn",
}
ANSWERS = ANSWER_FIELDS
PARTS = {
    Part.ORIGINATING: "Originating",
    Part.GATEWAY: "Gateway",
    Part.TRANSIT: "Transit",
    Part.TERMINATING: "Terminating",
}
MESSAGE_STATES = {
    MessageState.PENDING: "Waits to go out",
    MessageState.HANDING: "Going out",
    MessageState.SENT: "Went out",
    MessageState.FAILED: "Failed",
    MessageState.UNCERTAIN: "May have gone out: the service stopped while it was handed over",
}
_ACTIONS = {
    "opened": "opened the case",
    "added": "added to it",
    "removed": "took out of it",
    "changed": "changed title or owner",
    "linked": "linked another case",
    "task_added": "added a task",
    "task_done": "finished a task",
    "noted": "wrote a note",
    "closed": "closed the case",
    "reopened": "opened it again",
    "imported": "imported the case",
    "notice_drafted": "drafted a notice",
    "notice_edited": "changed a draft",
    "notice_sent": "sent a notice",
    "notice_acknowledged": "acknowledged a notice",
    "notice_answered": "answered a notice",
    "notice_disputed": "disputed a notice",
    "notice_withdrawn": "withdrew a notice",
    "notice_paged": "paged who is on duty",
}
_SHOWN = ("title", "outcome", "reason", "text", "other", "notice")
_LINK = re.compile(r"(/links/notices/\w+/\w+)\?[^\s>)]*")
_NUMBER = re.compile(r"\+\d{7,15}")
_markdown = MarkdownIt("commonmark", {"html": False})


def event(one: Event) -> str:
    """Return a line of history in words."""
    said = _ACTIONS.get(one.action, one.action.replace("_", " "))
    detail = [str(one.detail[name]) for name in _SHOWN if one.detail.get(name)]
    objects = one.detail.get("objects") or one.detail.get("added") or []
    if objects:
        detail.append(f"{len(objects)} {'item' if len(objects) == 1 else 'items'}")
    return f"{said}: {', '.join(detail)}" if detail else said


def clock(due_at: dt.datetime, now: dt.datetime) -> str:
    """Return how long there is to answer, or how late it is."""
    minutes = int(abs((due_at - now).total_seconds()) // 60)
    span = f"{minutes // 60} h {minutes % 60:02} min" if minutes < 48 * 60 else f"{minutes // 1440} days"
    return f"late by {span}" if now >= due_at else f"{span} left"


def notice_body(body: str, *, with_links: bool, with_numbers: bool) -> Markup:
    """Return a notice's Markdown as HTML; links open without a key, so only some roles see them whole."""
    if not with_links:
        body = _LINK.sub(r"\1", body)
    if not with_numbers:
        body = _NUMBER.sub(lambda match: match[0][:3] + "•••" + match[0][-2:], body)
    return Markup(_markdown.render(body))  # noqa: S704 (rendered with HTML switched off)
