"""Windows -> raw scores: the trained classifier, run by onnxruntime.

A model is a folder with ``detector.onnx`` and ``model.json``, and with ``network.onnx`` where a network on the
spectrogram takes part: its output, times the weight that ``model.json`` states, is added to what the features score.
``model.json`` names the model, the SHA-256 of each graph, the set of features that it expects and the calibration
(see :mod:`voiceguard.verdict`). The hashes are checked when the model is loaded: a changed graph never scores
anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voiceguard.errors import ModelError
from voiceguard.features import (
    FEATURE_SETS,
    WINDOWS_AT_ONCE,
    FeatureSet,
    analyse,
    extract,
    features_sha256,
)
from voiceguard.features.spectrum import Spectra
from voiceguard.shipped import shipped
from voiceguard.spectrogram import hear_each
from voiceguard.verdict import Calibration
from voiceguard.windows import SpeechWindow

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SCHEMA = 1
GRAPH_FILE = "detector.onnx"
NETWORK_FILE = "network.onnx"
RECORD_FILE = "model.json"
MODEL_VARIABLE = "VOICEGUARD_MODEL"
LIGHT_MODEL = "light"
"""Names the lighter of the shipped detectors, wherever a model's folder is asked for."""
ROWS_AT_ONCE = 8
"""Windows that the model scores at once."""


@dataclass(frozen=True)
class NetworkRecord:
    """What ``model.json`` says of the network on the spectrogram."""

    graph_sha256: str
    weight: float
    """What its logit is multiplied by before it is added to the score of the features."""
    share: float
    """How much of a window it hears."""


@dataclass(frozen=True)
class ModelRecord:
    """What ``model.json`` says."""

    id: str
    graph_sha256: str
    features: FeatureSet
    features_sha256: str
    calibration: Calibration
    network: NetworkRecord | None = None


def default_model_dir(named: Path | None = None) -> Path:
    """Folder of the model named, else of the one that ``VOICEGUARD_MODEL`` names, else of the shipped one."""
    folder = named or Path(os.environ.get(MODEL_VARIABLE) or shipped("models"))
    return shipped("models") / LIGHT_MODEL if str(folder) == LIGHT_MODEL and not folder.is_dir() else folder


def read_record(folder: Path) -> ModelRecord:
    """Read ``model.json``.

    Raises
    ------
    ModelError
        If it is missing, is no JSON, or is of another schema.
    """
    path = folder / RECORD_FILE
    try:
        raw = json.loads(path.read_text())
        if raw["schema"] != SCHEMA:
            raise ModelError(f"Expected a model of schema {SCHEMA} in {path}; got schema {raw['schema']}.")
        # Models from before there were several sets know the light one alone.
        features = raw.get("features", "light")
        if features not in FEATURE_SETS:
            raise ModelError(
                f"Expected the features {' or '.join(FEATURE_SETS)} in {path}; got {features!r}."
            )
        return ModelRecord(
            id=raw["id"],
            graph_sha256=raw["graph_sha256"],
            features=features,
            features_sha256=raw["features_sha256"],
            calibration=Calibration(**raw["calibration"]),
            network=NetworkRecord(**raw["network"]) if raw.get("network") else None,
        )
    except OSError as error:
        raise ModelError(f"Expected a model record at {path}; it can't be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"Expected a complete model record at {path}; got {error!r}.") from error


class Detector:
    """Scores windows of speech; safe to share between threads.

    Parameters
    ----------
    folder : Path
        The model's folder.

    Raises
    ------
    ModelError
        If a file is missing, the graph's hash differs from the record's, or the features do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(folder)
        self._session = _load_graph(folder / GRAPH_FILE, self.record.graph_sha256)
        network = self.record.network
        self._network = None if network is None else _load_graph(folder / NETWORK_FILE, network.graph_sha256)
        expected = features_sha256(self.record.features)
        if self.record.features_sha256 != expected:
            raise ModelError(
                f"Model {self.record.id} was trained on other features than this version computes; use the model "
                "that came with it."
            )

    def score(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Raw scores, shape (windows,), float64; higher is more synthetic. Windows don't influence each other."""
        return self._each(windows, self._score)

    def extract(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Features that this model scores, shape (windows, features), float32."""
        return extract(windows, self.record.features)

    def score_features(self, features: np.ndarray) -> np.ndarray:
        """Score feature rows, shape (windows, features) -> (windows,): the raw score without the network's part."""
        # Always as many rows: matrix products of other shapes may sum in another order, in the last bits. Several,
        # since reading the weights from memory is most of the cost.
        scores = np.zeros(len(features))
        batch = np.zeros((ROWS_AT_ONCE, features.shape[1]), np.float32)
        for start in range(0, len(features), ROWS_AT_ONCE):
            rows = features[start : start + ROWS_AT_ONCE]
            batch[: len(rows)] = rows
            found = self._session.run(None, {"features": batch})[0]
            scores[start : start + len(rows)] = np.ravel(found)[: len(rows)]
        return scores

    def score_spectrograms(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Part of the raw scores that the network on the spectrogram adds, shape (windows,); 0 without one."""
        return self._each(windows, lambda chunk: self.hear(analyse(chunk)))

    def hear(self, frames: Spectra) -> np.ndarray:
        """Compute that part from the windows' spectra, which their features need too."""
        scores = np.zeros(len(frames.bounds) - 1)
        if self._network is None or self.record.network is None:
            return scores
        # One at a time: windows differ in length, and must not influence each other.
        for row, heard in enumerate(hear_each(frames, self.record.network.share)):
            inputs = {"spectrogram": heard.spectrogram[None, None], "weights": heard.weights[:, None]}
            scores[row] = self.record.network.weight * float(self._network.run(None, inputs)[0][0, 0])
        return scores

    def _each(
        self, windows: Sequence[SpeechWindow], score: Callable[[Sequence[SpeechWindow]], np.ndarray]
    ) -> np.ndarray:
        starts = range(0, len(windows), WINDOWS_AT_ONCE)
        parts = [score(windows[start : start + WINDOWS_AT_ONCE]) for start in starts]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _score(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        frames = analyse(windows)
        return self.score_features(extract(windows, self.record.features, frames)) + self.hear(frames)


def _load_graph(path: Path, sha256: str) -> InferenceSession:
    """Load a graph, if it is the one that was recorded."""
    import onnxruntime

    try:
        graph = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Expected the detector at {path}: {error.strerror}.") from error
    found = hashlib.sha256(graph).hexdigest()
    if found != sha256:
        raise ModelError(f"Expected {path.name} with SHA-256 {sha256}; got {found}. The file was changed.")
    options = onnxruntime.SessionOptions()
    # One thread: scores must not depend on the machine, and processes are how serving scales.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
