"""A document in blocks: said once, then written as HTML (:mod:`.html`) and as PDF (:mod:`.pdf`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A numbered section's title, or at level 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``small`` for notes."""

    text: str
    small: bool = False


@dataclass(frozen=True)
class Callout:
    """What the reader must not miss."""

    title: str
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """A name and a value; ``exact`` values, such as hashes, stand in a fixed-width font."""

    name: str
    value: str
    exact: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values, one below the other."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Table:
    """A table; ``widths`` are shares of the page, ``exact`` the columns in a fixed-width font."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    exact: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG; ``alternative`` says what it shows to those who can't see it."""

    png: bytes
    alternative: str
    caption: str


@dataclass(frozen=True)
class Blank:
    """A line to fill in by hand."""

    label: str


Block = Heading | Paragraph | Callout | Bullets | Facts | Table | Picture | Blank


@dataclass(frozen=True)
class Document:
    """A titled sequence of blocks."""

    title: str
    subtitle: str
    running: str
    """Stands at the head of every page."""
    blocks: tuple[Block, ...]
