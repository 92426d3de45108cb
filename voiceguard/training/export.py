"""Write a trained ensemble as the model folder that serving loads: graph, record, hashes. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from voiceguard.detector import GRAPH_FILE, NETWORK_FILE, RECORD_FILE, SCHEMA, NetworkRecord
from voiceguard.explanation import HEARD, REFERENCE_FILE, families
from voiceguard.features import FeatureSet, feature_names, features_sha256
from voiceguard.spectrogram import BINS
from voiceguard.training.corpus import Corpus
from voiceguard.training.crossfold import CrossFold, Hearing
from voiceguard.training.mlp import Mlp
from voiceguard.training.network import VARIANCE_FLOOR, Convolution, SpectrogramNetwork
from voiceguard.verdict import Calibration
from voiceguard.windows import WINDOW_S

OPSET = 17
IR_VERSION = 8


def export_ensemble(members: Sequence[Mlp]) -> bytes:
    """Build one ONNX graph: ``features`` (windows, features) float32 -> ``score`` (windows,), the mean logit.

    Members share the standardisation of the one that sees most features, since they were trained on the same
    clips; those that see fewer take the first columns. Weights are stored in half precision, which halves the
    file and is far finer than the noise that training adds.
    """
    first = max(members, key=lambda member: len(member.mean))
    building = _Graph()
    constant, node = building.constant, building.node
    centred = node("Sub", ["features", constant("mean", first.mean.numpy())], "centred")
    scaled = node("Mul", [centred, constant("scale", first.scale.numpy())], "scaled")
    limit = np.array(first.config.clip)
    cut = node("Clip", [scaled, constant("low", -limit), constant("high", limit)], "cut")
    seen = {len(first.mean): cut}
    logits = []
    for number, member in enumerate(members):
        width = len(member.mean)
        if width not in seen:
            bounds = [
                building.integer(f"first{width}.{name}", at) for name, at in (("from", 0), ("to", width))
            ]
            seen[width] = node("Slice", [cut, *bounds, building.integer("columns", 1)], f"first{width}")
        logits.append(
            building.perceptron(
                seen[width],
                list(member.layers),
                f"member{number}.layer",
                active=".active",
                gain=member.gain.numpy(),
                half=True,
            )
        )
    mean = node("Mean", logits, "mean_logit") if len(logits) > 1 else logits[0]
    node("Squeeze", [mean, building.integer("axes", 1)], "score")
    return building.serialise(
        "voiceguard_detector",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["windows", len(first.mean)])],
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["windows"]),
    )


def export_network(model: SpectrogramNetwork) -> bytes:
    """Build the network's graph for one window.

    ``spectrogram`` (1, 1, bins, frames) and ``weights`` (steps, 1) that add up to 1, both float32 -> ``logit`` (1, 1).
    """
    building = _Graph()
    constant, node = building.constant, building.node

    def convolution(value: str, layer: Convolution, name: str) -> str:
        count = len(layer.weight)
        weight, bias = _fold_norm(layer.weight.detach().numpy(), np.zeros(count, np.float32), layer.norm)
        inputs = [
            value,
            constant(f"{name}.weight", weight.reshape(layer.filters().shape)),
            constant(f"{name}.bias", bias),
        ]
        down, along = layer.padding
        summed = node("Conv", inputs, f"{name}.sum", strides=layer.stride, pads=[down, along, down, along])
        return node("Relu", [summed], name)

    whitening = constant("whitening", model.whitening.numpy())
    value = node("Conv", ["spectrogram", whitening], "patches", strides=[2, 2], pads=[1, 1, 1, 1])
    value = node("Relu", [value], "both")
    for number, layer in enumerate(model.local):
        assert isinstance(layer, Convolution)
        value = convolution(value, layer, f"local{number}")
    rows = constant("rows", np.array([1, model.across.weight.shape[1], 1, -1]))
    across = convolution(node("Reshape", [value, rows], "flat"), model.across, "across")
    along = convolution(across, model.along, "along")
    both = node("Concat", [across, along], "values", axis=1)
    steps = node("Reshape", [both, constant("matrix", np.array([2 * model.config.wide, -1]))], "steps")
    mean = node("MatMul", [steps, "weights"], "mean")
    centred = node("Sub", [steps, mean], "centred")
    variance = node("MatMul", [node("Mul", [centred, centred], "squares"), "weights"], "variance")
    floored = node("Add", [variance, constant("floor", np.array(VARIANCE_FLOOR))], "floored")
    column = node("Concat", [mean, node("Sqrt", [floored], "spread")], "moments", axis=0)
    value = node("Reshape", [column, constant("row", np.array([1, -1]))], "pooled")
    building.perceptron(value, list(model.head), "head", output="logit")
    return building.serialise(
        "voiceguard_network",
        [
            helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, [1, 1, BINS, "frames"]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["steps", 1]),
        ],
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1]),
    )


class _Graph:
    """A graph of ONNX in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray, half: bool = False) -> str:
        """Add an array: of floats in single precision, or stored in half; of integers as they are."""
        if half:
            self._constants[name] = numpy_helper.from_array(value.astype(np.float16), name + ".half")
            return self.node("Cast", [name + ".half"], name, to=TensorProto.FLOAT)
        kept = value.astype(np.float32 if np.issubdtype(value.dtype, np.floating) else np.int64)
        self._constants[name] = numpy_helper.from_array(kept, name)
        return name

    def integer(self, name: str, value: int) -> str:
        """Add a constant of one integer, once."""
        return name if name in self._constants else self.constant(name, np.array([value]))

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def perceptron(
        self,
        value: str,
        layers: Sequence[nn.Module],
        name: str,
        *,
        active: str = "",
        output: str | None = None,
        gain: np.ndarray | None = None,
        half: bool = False,
    ) -> str:
        """Add linear layers, with the norms and ReLUs between them; return the name of the last one's output.

        Names begin with ``name`` and a layer's place, and end in ``active`` after a ReLU; the last is ``output``, if
        given. ``gain`` multiplies what goes in.
        """
        linear = [index for index, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        for index in linear:
            layer = layers[index]
            assert isinstance(layer, nn.Linear)
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            last = index == linear[-1]
            if not last:
                weight, bias = _fold_norm(weight, bias, layers[index + 1])
            if gain is not None and index == linear[0]:
                weight = weight * gain
            named = f"{name}{index}"
            inputs = [
                value,
                self.constant(f"{named}.weight", weight.T, half),
                self.constant(f"{named}.bias", bias),
            ]
            value = self.node("Gemm", inputs, output if last and output else f"{named}.sum")
            if not last:
                value = self.node("Relu", [value], named + active)
        return value

    def serialise(self, name: str, inputs: list[onnx.ValueInfoProto], output: onnx.ValueInfoProto) -> bytes:
        """Check the graph and return its file."""
        graph = helper.make_graph(self._nodes, name, inputs, [output], list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def write_model(
    folder: Path,
    model_id: str,
    graph: bytes,
    calibration: Calibration,
    features: FeatureSet,
    network: tuple[bytes, Hearing] | None = None,
) -> None:
    """Write graphs and ``model.json``; ``network`` is a graph and how it takes part. See :mod:`voiceguard.detector`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH_FILE).write_bytes(graph)
    (folder / NETWORK_FILE).unlink(missing_ok=True)
    record = {
        "schema": SCHEMA,
        "id": model_id,
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "features": features,
        "features_sha256": features_sha256(features),
        "calibration": asdict(calibration),
    }
    if network is not None:
        heard, hearing = network
        (folder / NETWORK_FILE).write_bytes(heard)
        heard_sha256 = hashlib.sha256(heard).hexdigest()
        record["network"] = asdict(NetworkRecord(heard_sha256, hearing.weight, hearing.share))
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n")


def write_reference(
    folder: Path,
    corpus: Corpus,
    result: CrossFold,
    calibration: Calibration,
    mean: np.ndarray,
    features: FeatureSet,
    network: float | None = None,
) -> None:
    """Write ``reference.json``: mean human features, and the range of each family's weight in human speech.

    The range is over human clips of wild pages, through the plain channel, by models that had not heard them.
    ``network`` is what the network on the spectrogram adds to the raw score of those in the mean, where there is one.
    """
    assert result.weights is not None
    human = ~corpus.column("synthetic") & (corpus.column("source") == "wild")
    weights = calibration.slope_at(WINDOW_S) * result.weights[human & np.isfinite(result.weights[:, 0])]
    cues = families(features) + ((HEARD,) if network is not None else ())
    ranges = {
        cue.name: [round(float(np.percentile(column, share)), 3) for share in (5, 95)]
        for cue, column in zip(cues, weights.T, strict=True)
    }
    document: dict[str, Any] = {
        "mean": [float(f"{value:.5g}") for value in mean[: len(feature_names(features))]],
        "ranges": ranges,
    }
    if network is not None:
        document["network"] = round(network, 4)
    (folder / REFERENCE_FILE).write_text(json.dumps(document) + "\n")


def _fold_norm(weight: np.ndarray, bias: np.ndarray, norm: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Fold batch normalisation into the linear layer before it, of shapes (out, in) and (out,)."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    shift = norm.bias.detach().numpy() - norm.running_mean.numpy() * gain
    return weight * gain[:, None], bias * gain + shift
