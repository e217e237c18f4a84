"""Writing ONNX files, and running them in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.export.network import NetworkDescription, walk
from chifoumi_jax.export.onnx.graph import Graph, OnnxOperations
from chifoumi_jax.export.onnx.resize import pixels, scaled
from chifoumi_jax.export.verify import Outputs, Runner
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.resources import gigabytes

# The first opset whose Resize supports antialiasing; onnxruntime 1.14 reads it.
_OPSET, _IR_VERSION = 18, 8
# The limit of a protocol buffer, minus some space for the graph.
_MAX_BYTES = 2**31 - 2**22
INPUT, PIXELS = "images", "pixels"


def write(network: NetworkDescription, path: Path, preprocess: Recipe | None = None) -> None:
    """Write the network as ONNX, for any number of images.

    The input is float32 [batch, height, width, 3] (gray: [batch, height, width]) in [0, 1]; with
    `preprocess` it is uint8 RGB [batch, height, width, 3] of any height and width. The outputs are
    `logits` and `probabilities`; the file's metadata are `network.metadata()`.

    Args:
        network: The network.
        path: The file.
        preprocess: The recipe whose resize the graph applies to the pictures; None for no resize.

    Raises:
        ExportError: If the weights are too large for an ONNX file.
    """
    from onnx import TensorProto, checker, helper

    if network.nbytes > _MAX_BYTES:
        raise ExportError(
            f"the weights take {gigabytes(network.nbytes)}, but an ONNX file holds at most 2 GB: "
            "export to another format, or train with a smaller --image-size"
        )
    graph = Graph()
    shape: list[str | int] = ["batch", *network.input_shape]
    value_infos = []
    if preprocess is not None:
        shape = ["batch", "height", "width", 3]
        resized = graph.node("Identity", [pixels(graph, preprocess, INPUT)], PIXELS)
        # Declared as a value, because `load_resizer` extracts the graph up to here.
        value_infos = [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, None)]
        planes = scaled(graph, preprocess, resized)
    elif len(network.input_shape) == 2:
        planes = graph.node("Unsqueeze", [INPUT, graph.integers(1)], "planes")
    else:
        planes = graph.node("Transpose", [INPUT], "planes", perm=[0, 3, 1, 2])
    logits, _ = walk(OnnxOperations(graph, len(network.classes)), network, planes)
    graph.node("Identity", [logits], "logits")
    input_type = TensorProto.FLOAT if preprocess is None else TensorProto.UINT8
    rows: list[str | int] = ["batch", len(network.classes)]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "chifoumi",
            [helper.make_tensor_value_info(INPUT, input_type, shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, rows)
                for name in ("probabilities", "logits")
            ],
            list(graph.weights.values()),
            value_info=value_infos,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="chifoumi-jax",
    )
    helper.set_model_props(model, _metadata(network, preprocess))
    checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _metadata(network: NetworkDescription, preprocess: Recipe | None) -> dict[str, str]:
    metadata = network.metadata()
    if preprocess is not None:
        metadata["images"] = "uint8 RGB of any size" + (
            ", turned upright as their EXIF orientation says" if preprocess.upright else ""
        )
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.items()
    }


class OnnxRunner(Runner):
    """Runs the file in onnxruntime, on the CPU."""

    def __init__(self, path: Path):
        self._session = _session(path)

    def predict(self, images: np.ndarray) -> Outputs:
        """See `Runner`."""
        probabilities, logits = self._session.run(["probabilities", "logits"], {INPUT: images})
        return Outputs(logits, probabilities)


def load_resizer(path: Path) -> Any:
    """A function that resizes a picture to the network's pixels with the graph of this file."""
    import onnx
    from onnx.utils import Extractor

    model = Extractor(onnx.load(path)).extract_model([INPUT], [PIXELS])
    session = _session(model.SerializeToString())

    def resize(picture: np.ndarray) -> np.ndarray:
        (batch,) = session.run([PIXELS], {INPUT: picture[None]})
        planes: np.ndarray = batch[0]
        return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)

    return resize


def _session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # only errors
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
    )
