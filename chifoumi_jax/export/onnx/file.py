"""ONNX files, for onnxruntime and whatever else reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.export.network import Network, walk
from chifoumi_jax.export.onnx.graph import Graph, Nodes
from chifoumi_jax.export.onnx.resize import pixels, scaled
from chifoumi_jax.export.verify import Answers, Runner
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.resources import gigabytes

# The first whose Resize knows antialiasing; onnxruntime 1.14 reads it.
_OPSET, _IR_VERSION = 18, 8
# What a protocol buffer can hold, less some for the graph.
_MAX_BYTES = 2**31 - 2**22
INPUT, PIXELS = "images", "pixels"


def write(network: Network, path: Path, preprocess: Recipe | None = None) -> None:
    """Write the network as ONNX, for any number of images.

    The input is float32 [batch, height, width, 3] (gray: [batch, height, width]) in [0, 1]; with
    `preprocess` it is uint8 RGB [batch, height, width, 3] of any height and width. The outputs are
    `logits` and `probabilities`; the file's metadata are `network.about()`.

    Args:
        network: What to write.
        path: Where to.
        preprocess: Whose pixels to make of the pictures in the graph.

    Raises:
        ExportError: If an ONNX file cannot hold so many weights.
    """
    from onnx import TensorProto, checker, helper

    if network.nbytes > _MAX_BYTES:
        raise ExportError(
            f"the weights take {gigabytes(network.nbytes)}, and an ONNX file holds 2 GB: "
            "export another format, or train with a smaller --image-size"
        )
    graph = Graph()
    shape: list[str | int] = ["batch", *network.input_shape]
    inner = []
    if preprocess is not None:
        shape = ["batch", "height", "width", 3]
        found = graph.node("Identity", [pixels(graph, preprocess, INPUT)], PIXELS)
        # For whoever wants to see them: `resized` does.
        inner = [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, None)]
        planes = scaled(graph, preprocess, found)
    elif len(network.input_shape) == 2:
        planes = graph.node("Unsqueeze", [INPUT, graph.integers(1)], "planes")
    else:
        planes = graph.node("Transpose", [INPUT], "planes", perm=[0, 3, 1, 2])
    logits, _ = walk(Nodes(graph, len(network.classes)), network, planes)
    graph.node("Identity", [logits], "logits")
    kind = TensorProto.FLOAT if preprocess is None else TensorProto.UINT8
    rows: list[str | int] = ["batch", len(network.classes)]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "chifoumi",
            [helper.make_tensor_value_info(INPUT, kind, shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, rows)
                for name in ("probabilities", "logits")
            ],
            list(graph.weights.values()),
            value_info=inner,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="chifoumi-jax",
    )
    helper.set_model_props(model, _texts(network, preprocess))
    checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _texts(network: Network, preprocess: Recipe | None) -> dict[str, str]:
    about = network.about()
    if preprocess is not None:
        about["images"] = "uint8 RGB of any size" + (
            ", turned upright as their EXIF orientation says" if preprocess.upright else ""
        )
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in about.items()
    }


class OnnxRunner(Runner):
    """The file in onnxruntime, on the CPU."""

    def __init__(self, path: Path):
        self._session = _session(path)

    def answer(self, images: np.ndarray) -> Answers:
        """See `Runner`."""
        probabilities, logits = self._session.run(["probabilities", "logits"], {INPUT: images})
        return Answers(logits, probabilities)


def resized(path: Path) -> Any:
    """A function from a picture to its pixels, as the graph in this file makes them."""
    import onnx
    from onnx.utils import Extractor

    model = Extractor(onnx.load(path)).extract_model([INPUT], [PIXELS])
    session = _session(model.SerializeToString())

    def pixels_of(picture: np.ndarray) -> np.ndarray:
        (found,) = session.run([PIXELS], {INPUT: picture[None]})
        planes: np.ndarray = found[0]
        return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)

    return pixels_of


def _session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Errors only.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
    )
