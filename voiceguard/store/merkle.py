"""Merkle trees as in RFC 6962, section 2.1: one hash for many, and a short proof that one is among them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


class Tree:
    """A tree over ``leaves``, at least one; each is hashed with a 0 byte before it."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("expected at least one leaf")
        self._levels = [[_leaf(leaf) for leaf in leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            level = [_node(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
            self._levels.append(
                level + below[len(below) - len(below) % 2 :]
            )  # a node alone moves up as it is

    @property
    def root(self) -> bytes:
        """The hash that stands for all leaves."""
        return self._levels[-1][0]

    def path(self, index: int) -> list[bytes]:
        """Return the audit path of the leaf at ``index``: the hashes that lead from it to the root."""
        found = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                found.append(level[sibling])
            index //= 2
        return found


def root_from_path(leaf: bytes, index: int, size: int, steps: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to, None if a tree of ``size`` has no such path."""
    if not 0 <= index < size:
        return None
    node, width, left = _leaf(leaf), size, list(steps)
    while width > 1:
        if index % 2:
            if not left:
                return None
            node = _node(left.pop(0), node)
        elif index + 1 < width:
            if not left:
                return None
            node = _node(node, left.pop(0))
        index, width = index // 2, (width + 1) // 2
    return None if left else node


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
