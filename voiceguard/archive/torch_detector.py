"""The detector on a device of torch: many windows of many recordings at once.

The graph is the shipped one. Its sums run in another order than onnxruntime's, so scores differ in the last digits;
a result says on which device it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from voiceguard.archive.jobs import Job
from voiceguard.archive.rows import Scored
from voiceguard.archive.screen import Prepared, as_result, made_by
from voiceguard.archive.torch_features import BatchFeatures
from voiceguard.archive.worker import DeviceUnavailable
from voiceguard.audio import decode
from voiceguard.detector import GRAPH_FILE, NETWORK_FILE, Detector
from voiceguard.errors import ModelError
from voiceguard.features import analyse
from voiceguard.screening import Screener
from voiceguard.spectrogram import hear_each
from voiceguard.windows import SpeechWindow

_AT_ONCE = 256
"""Windows in one batch: some 2 GiB of a GPU's memory."""


def check_device(device: str) -> None:
    """Raise DeviceUnavailable unless torch can compute there."""
    if not device.startswith("cuda") or torch.cuda.is_available():
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
    raise DeviceUnavailable(
        f"--device {device} needs a GPU, but torch sees none here (torch {torch.__version__} is built for {built})."
    )


class BatchDetector:
    """Scores windows as :class:`voiceguard.detector.Detector` does, on a device of torch.

    Parameters
    ----------
    detector
        Whose graph to run; its files are checked already.
    device
        A device of torch.
    """

    def __init__(self, detector: Detector, device: str) -> None:
        self.device = torch.device(device)
        self._features = BatchFeatures(device, detector.record.features)
        self._graph = _Graph(detector.folder / GRAPH_FILE, self.device)
        record = detector.record.network
        self._weight, self._share = (0.0, 1.0) if record is None else (record.weight, record.share)
        self._network = None if record is None else _Graph(detector.folder / NETWORK_FILE, self.device)

    def score(self, windows: Sequence[SpeechWindow]) -> np.ndarray:
        """Raw scores, shape (windows,), float64."""
        scores = np.zeros(len(windows))
        # Those of like length together, so that little is padding.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index].samples))
        with torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                rows = order[start : start + _AT_ONCE]
                features = self._features.extract([windows[row] for row in rows])
                found = self._graph.run(features=features).reshape(len(rows))
                scores[rows] = found.double().cpu().numpy()
                if self._network is not None:
                    logits = torch.stack([self._hear(self._network, windows[row]) for row in rows])
                    scores[rows] += self._weight * logits.double().cpu().numpy()
        return scores

    def _hear(self, network: _Graph, window: SpeechWindow) -> Tensor:
        (heard,) = hear_each(analyse([window]), self._share)
        spectrogram, weights = (torch.from_numpy(part).to(self.device) for part in heard)
        return network.run(spectrogram=spectrogram[None, None], weights=weights[:, None]).reshape(())


class _Graph:
    """A graph of ONNX, run by torch."""

    def __init__(self, path: Path, device: torch.device) -> None:
        graph = onnx.load(str(path)).graph
        unknown = {node.op_type for node in graph.node} - set(_OPERATIONS)
        if unknown:
            raise ModelError(
                f"Expected a graph that runs on {device}, but it has {', '.join(sorted(unknown))}."
            )
        self._steps = [
            (
                _OPERATIONS[node.op_type],
                list(node.input),
                node.output[0],
                {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute},
            )
            for node in graph.node
        ]
        self._constants = {
            constant.name: torch.as_tensor(numpy_helper.to_array(constant).copy(), device=device)
            for constant in graph.initializer
        }
        self._output = graph.output[0].name

    def run(self, **inputs: Tensor) -> Tensor:
        """Compute the graph's output."""
        values = {**self._constants, **inputs}
        for operation, names, output, attributes in self._steps:
            values[output] = operation(*(values[name] for name in names), **attributes)
        return values[self._output]


class Batched:
    """Screens many recordings at once on a device of torch; decoding and the rest stay on the CPU."""

    def __init__(self, screener: Screener, device: str, *, keep_screenings: bool) -> None:
        check_device(device)
        torch.set_num_threads(1)
        self._screener = screener
        self._detector = BatchDetector(screener.detector, device)
        self._keep = keep_screenings
        self.made_by = made_by(screener.detector.record, device=device, keep_screenings=keep_screenings)

    def prepare(self, job: Job, sha256: str, data: bytes) -> Prepared:
        """Decode."""
        return Prepared(job, sha256, decode(data, name=job.name))

    def finish(self, prepared: Sequence[Prepared]) -> list[Scored]:
        """Score the windows of all recordings together."""
        looked = [self._screener.look(one.recording) for one in prepared]
        windows = [window for channels in looked for channel in channels for window in channel.windows]
        scores = iter(self._detector.score(windows))
        results = []
        for one, channels in zip(prepared, looked, strict=True):
            raw = [np.array([next(scores) for _ in channel.windows]) for channel in channels]
            screening = self._screener.conclude(one.recording, channels, raw)
            results.append(as_result(one, screening, keep=self._keep))
        return results


def _gemm(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, values, weight)


def _convolution(
    values: Tensor, weight: Tensor, bias: Tensor | None = None, *, strides: list[int], pads: list[int]
) -> Tensor:
    # Our graphs pad both sides alike.
    return torch.nn.functional.conv2d(values, weight, bias, strides, pads[:2])


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Slice": lambda values, start, end, _axes: values[:, int(start) : int(end)],
    "Clip": lambda values, low, high: torch.minimum(torch.maximum(values, low), high),
    "Cast": lambda values, to: values.float(),
    "Gemm": _gemm,
    "Relu": torch.relu,
    "Mean": lambda *values: torch.stack(values).mean(0),
    "Squeeze": lambda values, _axes: values,
    "Add": torch.add,
    "Sqrt": torch.sqrt,
    "MatMul": torch.matmul,
    "Concat": lambda *values, axis: torch.cat(values, axis),
    "Reshape": lambda values, shape: values.reshape(shape.tolist()),
    "Conv": _convolution,
}
