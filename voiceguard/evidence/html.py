"""Documents as HTML: one file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from voiceguard.console import visible
from voiceguard.evidence.document import Document


def write_html(document: Document) -> bytes:
    """Return the document as a page; what strangers wrote in it is escaped."""
    blocks = [(type(block).__name__, block) for block in document.blocks]
    return (_template().render(document=document, blocks=blocks) + "\n").encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("voiceguard.evidence"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: (
            visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
        ),
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template("document.html.j2")
