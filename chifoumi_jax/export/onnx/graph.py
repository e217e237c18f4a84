"""An ONNX graph that is built node by node, and the network's operations as its nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Mean,
    Residual,
    Scale,
)


class Graph:
    """A graph to which nodes are added one at a time; values are referred to by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node and return the name of its value."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str, array: np.ndarray) -> str:
        """Add a constant, unless one of this name exists, and return its name."""
        from onnx import numpy_helper

        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def integers(self, *values: int) -> str:
        """The name of a constant list of integers, which is stored once."""
        return self.weight("_".join(["integers", *map(str, values)]), np.array(values, np.int64))

    def number(self, value: float) -> str:
        """The name of a constant float, which is stored once."""
        return self.weight(f"number_{value!r}", np.array(value, np.float32))


class OnnxOperations:
    """`Operations` as nodes of a graph; all images are NCHW, gray ones too."""

    def __init__(self, graph: Graph, classes: int):
        self._graph = graph
        self._classes = classes

    def standardize(self, images: str) -> str:
        """See `Operations`."""
        graph = self._graph
        centred = graph.node("Sub", [images, self._mean(images, (3, 2), "image_mean")], "centred")
        square = graph.node("Mul", [centred, centred], "centred_squared")
        variance = self._mean(square, (3, 2, 1), "image_variance")
        deviation = graph.node("Sqrt", [variance], "image_deviation")
        divisor = graph.node("Add", [deviation, graph.number(1e-3)], "image_divisor")
        return graph.node("Div", [centred, divisor], "standardized")

    def with_mirror_images(self, images: str) -> str:
        """See `Operations`."""
        graph = self._graph
        # Start, end, axis and step: backwards from the last column, including the first one.
        arguments = [graph.integers(number) for number in (-1, -(2**31), 3, -1)]
        mirrored = graph.node("Slice", [images, *arguments], "mirror_images")
        return graph.node("Concat", [images, mirrored], "with_mirror_images", axis=0)

    def conv(self, images: str, layer: Conv) -> str:
        """See `Operations`."""
        kernel = layer.kernel[:, :, None] if layer.depthwise else layer.kernel
        weights = [
            self._graph.weight(f"{layer.name}.kernel", kernel.transpose(3, 2, 0, 1)),
            self._graph.weight(f"{layer.name}.bias", layer.bias),
        ]
        convolved = self._graph.node(
            "Conv",
            [images, *weights],
            layer.name,
            kernel_shape=kernel.shape[:2],
            strides=[layer.stride, layer.stride],
            auto_pad="SAME_UPPER" if layer.same else "VALID",
            group=kernel.shape[3] if layer.depthwise else 1,
        )
        return self._activate(convolved, layer)

    def dense(self, values: str, layer: Dense) -> str:
        """See `Operations`."""
        weights = [
            self._graph.weight(f"{layer.name}.kernel", layer.kernel),
            self._graph.weight(f"{layer.name}.bias", layer.bias),
        ]
        return self._activate(self._graph.node("Gemm", [values, *weights], layer.name), layer)

    def scale(self, images: str, layer: Scale) -> str:
        """See `Operations`."""
        graph = self._graph
        product = graph.node("Mul", [images, graph.number(layer.factor)], f"{layer.name}_factor")
        return graph.node("Add", [product, graph.number(layer.offset)], layer.name)

    def max_pool(self, images: str, layer: MaxPool) -> str:
        """See `Operations`."""
        window = {"kernel_shape": [2, 2], "strides": [2, 2]}
        return self._graph.node("MaxPool", [images], layer.name, **window)

    def mean(self, images: str, layer: Mean) -> str:
        """See `Operations`."""
        pooled = self._graph.node("GlobalAveragePool", [images], layer.name)
        return self._graph.node("Flatten", [pooled], f"{layer.name}_flat")

    def flatten(self, images: str, layer: Flatten) -> str:
        """See `Operations`."""
        nhwc = self._graph.node("Transpose", [images], f"{layer.name}_nhwc", perm=[0, 2, 3, 1])
        return self._graph.node("Flatten", [nhwc], layer.name)

    def dropout(self, values: str, layer: Dropout) -> str:
        """See `Operations`."""
        return values

    def add(self, images: str, others: str, layer: Residual) -> str:
        """See `Operations`."""
        return self._graph.node("Add", [images, others], layer.name)

    def mean_of_halves(self, logits: str) -> str:
        """See `Operations`."""
        graph = self._graph
        log_probabilities = graph.node("LogSoftmax", [logits], "log_probabilities", axis=1)
        shape = graph.integers(2, -1, self._classes)
        halves = graph.node("Reshape", [log_probabilities, shape], "halves")
        total = graph.node("ReduceLogSumExp", [halves, graph.integers(0)], "log_sum", keepdims=0)
        return graph.node("Sub", [total, graph.number(math.log(2))], "log_mean")

    def divide(self, logits: str, temperature: float) -> str:
        """See `Operations`."""
        return self._graph.node("Div", [logits, self._graph.number(temperature)], "tempered")

    def softmax(self, logits: str) -> str:
        """See `Operations`."""
        return self._graph.node("Softmax", [logits], "probabilities", axis=1)

    def _mean(self, values: str, axes: Sequence[int], name: str) -> str:
        # One axis at a time, because onnxruntime sums an image's pixels one by one: in float32 a
        # sum of 22,500 values was off by 1e-5, a hundred times the error of all other operations.
        for axis in axes:
            inputs = [values, self._graph.integers(axis)]
            values = self._graph.node("ReduceMean", inputs, f"{name}_{axis}")
        return values

    def _activate(self, values: str, layer: Conv | Dense) -> str:
        name = f"{layer.name}_{layer.activation}"
        match layer.activation:
            case "relu":
                return self._graph.node("Relu", [values], name)
            case "relu6":
                limits = [self._graph.number(0.0), self._graph.number(6.0)]
                return self._graph.node("Clip", [values, *limits], name)
            case _:
                return values
