"""The tables of the review pages' own conveniences: saved views, figures kept as they change; part of `schema`."""

from __future__ import annotations

import sqlalchemy as sa

from voiceguard.store.schema import Seq, UTCDateTime, metadata

saved_views = sa.Table(
    "saved_views",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("query", sa.Text, nullable=False),  # the filter as the queue's address has it
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.UniqueConstraint("user_id", "name"),
)

figures = sa.Table(  # counted in the transaction that changes them; they outlive the calls
    "figures",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),  # of receipt, UTC, as 20260301
    sa.Column("carrier_id", sa.ForeignKey("carriers.id"), primary_key=True),
    sa.Column("provider", sa.String(255), primary_key=True),  # upstream; empty: not said
    sa.Column("level", sa.String(8), primary_key=True),  # A, B, C or none
    sa.Column("screened", sa.Integer, nullable=False),
    sa.Column("flagged", sa.Integer, nullable=False),
    sa.Column("confirmed", sa.Integer, nullable=False),  # flagged, and a synthetic voice to people too
    sa.Column("overturned", sa.Integer, nullable=False),  # flagged, and dismissed
    sa.Column("missed", sa.Integer, nullable=False),  # not flagged, and a synthetic voice to people
)
