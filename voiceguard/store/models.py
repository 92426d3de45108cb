"""The models that have screened, kept beside the recordings: evidence needs the one that made a score.

A model's place is named by the SHA-256 of its record, ``model.json``, which names its graph's hash in turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from voiceguard.detector import GRAPH_FILE, NETWORK_FILE, RECORD_FILE, read_record
from voiceguard.errors import ModelError
from voiceguard.store.recordings import Recordings

FILES = (RECORD_FILE, GRAPH_FILE, NETWORK_FILE, "CARD.md", "evaluation.json", "recipe.json")
"""What makes a model: its record, its graphs, of which not all have the second, and what says what it is worth."""


def read(folder: Path) -> dict[str, bytes]:
    """Read a model's files, those that are there.

    Raises
    ------
    ModelError
        The record can't be read, or a graph that it names.
    """
    needed = [RECORD_FILE, GRAPH_FILE]
    if read_record(folder).network is not None:
        needed.append(NETWORK_FILE)
    files = {}
    for name in FILES:
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            if name in needed:
                raise ModelError(f"Expected {name} in {folder}: {error.strerror}.") from error
    return files


def files_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a model's files."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in read(folder).items()}


def keep(recordings: Recordings, folder: Path) -> None:
    """Put a model beside the recordings, unless it is there."""
    files = read(folder)
    place = _place(hashlib.sha256(files[RECORD_FILE]).hexdigest())
    # The record last: where it is, the others are.
    for name in reversed(list(files)):
        if recordings.kept(f"{place}/{name}") != files[name]:
            recordings.keep(f"{place}/{name}", files[name])


def kept(recordings: Recordings, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of the model with these hashes.

    Raises
    ------
    ModelError
        It is not there, or not as it was.
    """
    place = _place(hashes[RECORD_FILE])
    files = {}
    for name, sha256 in hashes.items():
        data = recordings.kept(f"{place}/{name}")
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"Expected the model's {name} with SHA-256 {sha256} beside the recordings.")
        files[name] = data
    return files


def _place(record_sha256: str) -> str:
    return f"models/{record_sha256}"
