"""What a run's model computes, layer by layer with its weights in NumPy, for every other runtime.

One description of each network, and one walk through it: a format is a set of `Operations`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from flax import nnx
from jaxtyping import Float32

from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.models import CNN, MLP, EfficientNetLite0
from chifoumi_jax.models.efficientnet_lite import Block, ConvNorm
from chifoumi_jax.prediction.classifier import Classifier

Activation = Literal["relu", "relu6"] | None
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Conv:
    """Convolution with a bias, and its activation.

    Attributes:
        name: The original's.
        kernel: Height, width, in, out; without `in` it is depthwise.
        bias: Of each channel.
        stride: Down and across.
        same: Whether zeros around keep the size; where their number is odd, the last one is at the
            bottom and at the right, as TensorFlow and XLA have it.
        activation: What follows.
    """

    name: str
    kernel: Float32[np.ndarray, "side side *channels"]
    bias: Float32[np.ndarray, " out"]
    stride: int
    same: bool
    activation: Activation

    @property
    def depthwise(self) -> bool:
        """Whether each channel has a kernel of its own."""
        return self.kernel.ndim == 3

    def padding(self, size: int) -> tuple[int, int]:
        """Zeros before and after a side of this many pixels."""
        if not self.same:
            return 0, 0
        side = self.kernel.shape[0]
        missing = max((-(-size // self.stride) - 1) * self.stride + side - size, 0)
        return missing // 2, missing - missing // 2


@dataclasses.dataclass(frozen=True)
class Dense:
    """Product with a kernel (in, out), a bias, and its activation."""

    name: str
    kernel: Float32[np.ndarray, "in out"]
    bias: Float32[np.ndarray, " out"]
    activation: Activation


@dataclasses.dataclass(frozen=True)
class Scale:
    """Every value times `factor`, plus `offset`."""

    name: str
    factor: float
    offset: float


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """The largest of 2 x 2; an odd last row or column is left out."""

    name: str


@dataclasses.dataclass(frozen=True)
class Mean:
    """Each channel's mean over the image."""

    name: str


@dataclasses.dataclass(frozen=True)
class Flatten:
    """An image's values in a row: rows, columns, channels."""

    name: str


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Nothing; it says where dropout stands, for whoever trains on."""

    name: str
    rate: float


@dataclasses.dataclass(frozen=True)
class Residual:
    """What comes in, plus what these layers make of it."""

    name: str
    layers: tuple[Layer, ...]


Layer = Conv | Dense | Scale | MaxPool | Mean | Flatten | Dropout | Residual


@dataclasses.dataclass(frozen=True)
class Network:
    """From images in [0, 1] to logits and probabilities, as `load(run)` gives them.

    Attributes:
        recipe: Its name.
        classes: Names of the classes, in the order of the probabilities.
        input_shape: Of one image: height, width and channels, or height and width if gray.
        standardize: Whether each image is centred and scaled to unit deviation first.
        layers: What then follows, one after the other.
        mirror: Whether probabilities are the mean of the image's and its mirror image's.
        temperature: What the logits are divided by at last.
        threshold: Below which probability an answer is to be called unsure.
    """

    recipe: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    standardize: bool
    layers: tuple[Layer, ...]
    mirror: bool
    temperature: float
    threshold: float

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(
            layer.kernel.nbytes + layer.bias.nbytes
            for layer in flat(self.layers)
            if isinstance(layer, Conv | Dense)
        )

    def about(self) -> dict[str, Any]:
        """What a file should say of itself, ready for JSON."""
        gray = len(self.input_shape) == 2
        return {
            "classes": list(self.classes),
            "recipe": self.recipe,
            "image_size": self.input_shape[0],
            "images": f"float32 in [0, 1], {'gray' if gray else 'RGB'}",
            "temperature": self.temperature,
            "threshold": self.threshold,
        }


class Operations(Protocol[T]):
    """What a format must be able to do; `T` is how it refers to an array.

    Images have the layout that the format likes; logits have the shape (batch, classes).
    """

    def standardize(self, images: T) -> T:
        """Each image less its channels' means, over (its deviation + 1e-3)."""

    def with_mirror_images(self, images: T) -> T:
        """The images and then their mirror images: a batch twice as long."""

    def conv(self, images: T, layer: Conv) -> T:
        """See `Conv`."""

    def dense(self, values: T, layer: Dense) -> T:
        """See `Dense`."""

    def scale(self, images: T, layer: Scale) -> T:
        """See `Scale`."""

    def max_pool(self, images: T, layer: MaxPool) -> T:
        """See `MaxPool`."""

    def mean(self, images: T, layer: Mean) -> T:
        """See `Mean`."""

    def flatten(self, images: T, layer: Flatten) -> T:
        """See `Flatten`."""

    def dropout(self, values: T, layer: Dropout) -> T:
        """See `Dropout`."""

    def add(self, images: T, others: T, layer: Residual) -> T:
        """The sum of two arrays of one shape."""

    def mean_of_halves(self, logits: T) -> T:
        """Logarithms of the mean probabilities of the batch's first and second half."""

    def divide(self, logits: T, temperature: float) -> T:
        """The logits over the temperature."""

    def softmax(self, logits: T) -> T:
        """Probabilities."""


def walk(operations: Operations[T], network: Network, images: T) -> tuple[T, T]:
    """Logits and probabilities of images in [0, 1]; the softmax of the first is the second."""
    x = operations.standardize(images) if network.standardize else images
    x = operations.with_mirror_images(x) if network.mirror else x
    x = _chain(operations, network.layers, x)
    x = operations.mean_of_halves(x) if network.mirror else x
    logits = operations.divide(x, network.temperature) if network.temperature != 1 else x
    return logits, operations.softmax(logits)


def _chain(operations: Operations[T], layers: Sequence[Layer], x: T) -> T:
    for layer in layers:
        match layer:
            case Conv():
                x = operations.conv(x, layer)
            case Dense():
                x = operations.dense(x, layer)
            case Scale():
                x = operations.scale(x, layer)
            case MaxPool():
                x = operations.max_pool(x, layer)
            case Mean():
                x = operations.mean(x, layer)
            case Flatten():
                x = operations.flatten(x, layer)
            case Dropout():
                x = operations.dropout(x, layer)
            case Residual():
                x = operations.add(x, _chain(operations, layer.layers, x), layer)
    return x


def flat(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers, those within a `Residual` too, in order."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat(layer.layers)
        yield layer


def describe(classifier: Classifier) -> Network:
    """The classifier's network, with batch normalisation folded into the convolutions."""
    recipe = classifier.recipe
    model = nnx.merge(classifier.program.graph, classifier.weights)
    if isinstance(model, CNN):
        layers = _cnn(model)
    elif isinstance(model, EfficientNetLite0):
        layers = _efficientnet_lite0(model)
    elif isinstance(model, MLP):
        layers = _mlp(model)
    else:
        raise ExportError(f"the network {recipe.model} is not described for other runtimes")
    return Network(
        recipe=recipe.name,
        classes=classifier.classes,
        input_shape=recipe.input_shape,
        standardize=recipe.standardize,
        layers=tuple(layers),
        mirror=recipe.mirror_test,
        temperature=classifier.calibration.temperature,
        threshold=classifier.calibration.threshold,
    )


def _cnn(model: CNN) -> Iterator[Layer]:
    for number, layer in enumerate((model.conv1, model.conv2, model.conv3), start=1):
        kernel, bias = _arrays(layer)
        yield Conv(f"conv2d_{number}", kernel, bias, stride=1, same=False, activation="relu")
        yield MaxPool(f"max_pooling2d_{number}")
    yield Flatten("flatten_1")
    yield Dense("dense_1", *_arrays(model.dense1), "relu")
    yield Dropout("dropout_1", model.dropout_rate)
    yield Dense("dense_2", *_arrays(model.dense2), None)


def _mlp(model: MLP) -> Iterator[Layer]:
    yield Flatten("flatten")
    yield Dense("fc1", *_arrays(model.fc1), "relu")
    yield Dropout("dropout1", model.dropout_rate)
    yield Dense("fc2", *_arrays(model.fc2), "relu")
    yield Dropout("dropout2", model.dropout_rate)
    yield Dense("fc3", *_arrays(model.fc3), "relu" if model.relu_logits else None)


def _efficientnet_lite0(model: EfficientNetLite0) -> Iterator[Layer]:
    # `scale_lite`.
    yield Scale("scale", 255 / 128, -127 / 128)
    yield _folded("conv_stem", model.stem)
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        parts = {"expand": block.expand, "depthwise": block.depthwise, "project": block.project}
        layers = tuple(
            _folded(f"block{number}_{part}", layer)
            for part, layer in parts.items()
            if layer is not None
        )
        if block.adds_input:
            yield Residual(f"block{number}_add", layers)
        else:
            yield from layers
    yield _folded("conv_head", model.head)
    yield Mean("avg_pooling")
    yield Dropout("dropout", model.dropout_rate)
    yield Dense("fc", *_arrays(model.classify), None)


def _folded(name: str, layer: ConvNorm) -> Conv:
    factor, offset = layer.norm.folded()
    return Conv(
        name,
        np.asarray(layer.kernel[...] * factor, np.float32),
        np.asarray(offset, np.float32),
        stride=layer.stride,
        same=True,
        activation="relu6" if layer.activate else None,
    )


def _arrays(layer: nnx.Conv | nnx.Linear) -> tuple[np.ndarray, np.ndarray]:
    assert layer.bias is not None
    return np.asarray(layer.kernel[...], np.float32), np.asarray(layer.bias[...], np.float32)
