"""A run's model as a list of layers with NumPy weights, from which every export format is written.

Each network has one description, and `walk` applies it: a format only implements `Operations`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from flax import nnx

from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Mean,
    Residual,
    Scale,
    flat,
)
from chifoumi_jax.prediction.classifier import Classifier

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class NetworkDescription:
    """The computation from images in [0, 1] to logits and probabilities, as in `load(run)`.

    Attributes:
        recipe: Name of the recipe.
        classes: Names of the classes, in the order of the probabilities.
        input_shape: Shape of one image: height, width and channels, or height and width if gray.
        standardize: Whether each image is first centred and scaled to unit standard deviation.
        layers: The layers that follow, in order.
        mirror: Whether probabilities are the mean over the image and its mirror image.
        temperature: The logits are divided by it at the end.
        threshold: An answer whose probability is below it is called unsure.
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
        """Size of all weights, in bytes."""
        return sum(
            layer.kernel.nbytes + layer.bias.nbytes
            for layer in flat(self.layers)
            if isinstance(layer, Conv | Dense)
        )

    def metadata(self) -> dict[str, Any]:
        """The metadata of an exported file, ready for JSON."""
        gray = len(self.input_shape) == 2
        return {
            "classes": list(self.classes),
            "recipe": self.recipe,
            "image_size": self.input_shape[0],
            "images": f"float32 in [0, 1], {'gray' if gray else 'RGB'}",
            "temperature": self.temperature,
            "threshold": self.threshold,
        }


@runtime_checkable
class Operations(Protocol[T]):
    """The operations that a format implements; `T` is the format's type for an array.

    Each format chooses the layout of its images; logits have the shape (batch, classes).
    """

    def standardize(self, images: T) -> T:
        """Subtract each channel's mean, then divide by (the image's standard deviation + 1e-3)."""

    def with_mirror_images(self, images: T) -> T:
        """The images followed by their mirror images: a batch twice as long."""

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
        """The sum of two arrays of the same shape."""

    def mean_of_halves(self, logits: T) -> T:
        """Log of the mean of the probabilities of the batch's first half and its second half."""

    def divide(self, logits: T, temperature: float) -> T:
        """The logits divided by the temperature."""

    def softmax(self, logits: T) -> T:
        """The probabilities."""


def walk(operations: Operations[T], network: NetworkDescription, images: T) -> tuple[T, T]:
    """Logits of images in [0, 1], and their softmax: the probabilities."""
    x = operations.standardize(images) if network.standardize else images
    x = operations.with_mirror_images(x) if network.mirror else x
    x = _apply(operations, network.layers, x)
    x = operations.mean_of_halves(x) if network.mirror else x
    logits = operations.divide(x, network.temperature) if network.temperature != 1 else x
    return logits, operations.softmax(logits)


def _apply(operations: Operations[T], layers: Sequence[Layer], x: T) -> T:
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
                x = operations.add(x, _apply(operations, layer.layers, x), layer)
    return x


def describe(classifier: Classifier) -> NetworkDescription:
    """The classifier's network, with batch normalisation folded into the convolutions.

    Raises:
        ExportError: If the network has no `describe`.
    """
    recipe = classifier.recipe
    layers = nnx.merge(classifier.program.graph, classifier.weights).describe()
    if layers is None:
        raise ExportError(
            f"the network {recipe.model} is not described for other runtimes: its model class must "
            "define describe()"
        )
    return NetworkDescription(
        recipe=recipe.name,
        classes=classifier.classes,
        input_shape=recipe.input_shape,
        standardize=recipe.standardize,
        layers=tuple(layers),
        mirror=recipe.mirror_test,
        temperature=classifier.calibration.temperature,
        threshold=classifier.calibration.threshold,
    )
