"""What training keeps in its work folder: files that are whole where they are, named by what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch


def recipe_key(recipe: list[object]) -> str:
    """Name what a recipe makes; ``recipe`` is anything that JSON can hold."""
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def save_state(state: object, path: Path) -> None:
    """Keep weights, or the state of a training."""
    partial = path.with_name(path.name + ".part")
    torch.save(state, partial)
    partial.rename(path)


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Keep arrays in a ``.npz`` file."""
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.rename(path)
