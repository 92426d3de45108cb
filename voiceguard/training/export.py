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
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray, half: bool = False) -> str:
        if half:
            weights.append(numpy_helper.from_array(value.astype(np.float16), name + ".half"))
            nodes.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
        else:
            weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(kind: str, inputs: list[str], output: str) -> str:
        nodes.append(helper.make_node(kind, inputs, [output]))
        return output

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
                _integers(weights, f"first{width}.{name}", at) for name, at in (("from", 0), ("to", width))
            ]
            seen[width] = node("Slice", [cut, *bounds, _integers(weights, "columns", 1)], f"first{width}")
        value = seen[width]
        layers = list(member.layers)
        for index, layer in enumerate(layers):
            if not isinstance(layer, nn.Linear):
                continue
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            last = index == len(layers) - 1
            if not last:
                weight, bias = _fold_norm(weight, bias, layers[index + 1])
            if value == seen[width]:
                weight = weight * member.gain.numpy()
            name = f"member{number}.layer{index}"
            inputs = [
                value,
                constant(f"{name}.weight", weight.T, half=True),
                constant(f"{name}.bias", bias),
            ]
            value = node("Gemm", inputs, f"{name}.sum")
            if not last:
                value = node("Relu", [value], f"{name}.active")
        logits.append(value)
    mean = node("Mean", logits, "mean_logit") if len(logits) > 1 else logits[0]
    node("Squeeze", [mean, _integers(weights, "axes", 1)], "score")
    graph = helper.make_graph(
        nodes,
        "voiceguard_detector",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["windows", len(first.mean)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["windows"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def export_network(model: SpectrogramNetwork) -> bytes:
    """Build the network's graph for one window.

    ``spectrogram`` (1, 1, bins, frames) and ``weights`` (steps, 1) that add up to 1, both float32 -> ``logit`` (1, 1).
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(value: str, layer: Convolution, name: str) -> str:
        count = len(layer.weight)
        weight, bias = _fold_norm(layer.weight.detach().numpy(), np.zeros(count, np.float32), layer.norm)
        inputs = [
            value,
            constant(f"{name}.weight", weight.reshape(layer.filters().shape).astype(np.float32)),
            constant(f"{name}.bias", bias.astype(np.float32)),
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
    rows = constant("rows", np.array([1, model.across.weight.shape[1], 1, -1], np.int64))
    across = convolution(node("Reshape", [value, rows], "flat"), model.across, "across")
    along = convolution(across, model.along, "along")
    both = node("Concat", [across, along], "values", axis=1)
    steps = node(
        "Reshape", [both, constant("matrix", np.array([2 * model.config.wide, -1], np.int64))], "steps"
    )
    mean = node("MatMul", [steps, "weights"], "mean")
    centred = node("Sub", [steps, mean], "centred")
    variance = node("MatMul", [node("Mul", [centred, centred], "squares"), "weights"], "variance")
    floored = node("Add", [variance, constant("floor", np.array(VARIANCE_FLOOR, np.float32))], "floored")
    column = node("Concat", [mean, node("Sqrt", [floored], "spread")], "moments", axis=0)
    value = node("Reshape", [column, constant("row", np.array([1, -1], np.int64))], "pooled")
    layers = list(model.head)
    for index, layer in enumerate(layers):
        if not isinstance(layer, nn.Linear):
            continue
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        last = index == len(layers) - 1
        if not last:
            weight, bias = _fold_norm(weight, bias, layers[index + 1])
        inputs = [
            value,
            constant(f"head{index}.weight", weight.T.astype(np.float32)),
            constant(f"head{index}.bias", bias.astype(np.float32)),
        ]
        value = node("Gemm", inputs, "logit" if last else f"head{index}.sum")
        if not last:
            value = node("Relu", [value], f"head{index}")
    graph = helper.make_graph(
        nodes,
        "voiceguard_network",
        [
            helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, [1, 1, BINS, "frames"]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["steps", 1]),
        ],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1])],
        constants,
    )
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported)
    return exported.SerializeToString(deterministic=True)


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


def _integers(weights: list[onnx.TensorProto], name: str, value: int) -> str:
    """Add a constant of one integer, once."""
    if all(weight.name != name for weight in weights):
        weights.append(numpy_helper.from_array(np.array([value], np.int64), name))
    return name
