"""Windows -> raw scores: the trained classifier, run by onnxruntime.

A model is a folder with ``detector.onnx`` and ``model.json``. ``model.json`` names the model, the SHA-256 of
the graph, the set of features that it expects and the calibration (see :mod:`voiceguard.verdict`). The hash is
checked when the model is loaded: a changed graph never scores anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceguard.errors import ModelError
from voiceguard.features import FEATURE_SETS, FeatureSet, extract, features_sha256
from voiceguard.shipped import shipped
from voiceguard.verdict import Calibration
from voiceguard.windows import SpeechWindow

SCHEMA = 1
GRAPH_FILE = "detector.onnx"
RECORD_FILE = "model.json"
MODEL_VARIABLE = "VOICEGUARD_MODEL"
LIGHT_MODEL = "light"
"""Names the lighter of the shipped detectors, wherever a model's folder is asked for."""
ROWS_AT_ONCE = 8
"""Windows that the model scores at once."""


@dataclass(frozen=True)
class ModelRecord:
    """What ``model.json`` says."""

    id: str
    graph_sha256: str
    features: FeatureSet
    features_sha256: str
    calibration: Calibration


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
        import onnxruntime

        self.folder = folder
        self.record = read_record(folder)
        try:
            graph = (folder / GRAPH_FILE).read_bytes()
        except OSError as error:
            raise ModelError(f"Expected the detector at {folder / GRAPH_FILE}: {error.strerror}.") from error
        found = hashlib.sha256(graph).hexdigest()
        if found != self.record.graph_sha256:
            raise ModelError(
                f"Expected {GRAPH_FILE} with SHA-256 {self.record.graph_sha256}; got {found}. The file was changed."
            )
        expected = features_sha256(self.record.features)
        if self.record.features_sha256 != expected:
            raise ModelError(
                f"Model {self.record.id} was trained on other features than this version computes; use the model "
                "that came with it."
            )
        options = onnxruntime.SessionOptions()
        # One thread: scores must not depend on the machine, and processes are how serving scales.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def score(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Raw scores, shape (windows,), float64; higher is more synthetic. Windows don't influence each other."""
        return self.score_features(self.extract(windows))

    def extract(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Features that this model scores, shape (windows, features), float32."""
        return extract(windows, self.record.features)

    def score_features(self, features: np.ndarray) -> np.ndarray:
        """Raw scores of feature rows, shape (windows, features) -> (windows,)."""
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
