"""What a run's model computes, layer by layer with its weights in NumPy, for every other runtime.

One description of each network, and one walk through it: a format is a set of `Operations`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

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


def describe(classifier: Classifier) -> Network:
    """The classifier's network, with batch normalisation folded into the convolutions.

    Raises:
        ExportError: If the network does not describe itself.
    """
    recipe = classifier.recipe
    layers = nnx.merge(classifier.program.graph, classifier.weights).describe()
    if layers is None:
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
