"""Framework-independent layers with their weights in NumPy, for export to other runtimes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from flax import nnx
from jaxtyping import Float32

Activation = Literal["relu", "relu6"] | None


@dataclasses.dataclass(frozen=True)
class Conv:
    """Convolution with a bias, and its activation.

    Attributes:
        name: The layer's name in the original.
        kernel: Height, width, in, out; a depthwise kernel has no `in`.
        bias: One value per output channel.
        stride: Vertical and horizontal stride.
        same: Whether zero padding keeps the size. If the number of zeros is odd, the extra one is
            at the bottom and right, as in TensorFlow and XLA.
        activation: The activation after the convolution.
    """

    name: str
    kernel: Float32[np.ndarray, "side side *channels"]
    bias: Float32[np.ndarray, " out"]
    stride: int
    same: bool
    activation: Activation

    @property
    def depthwise(self) -> bool:
        """Whether each channel has its own kernel."""
        return self.kernel.ndim == 3

    def padding(self, size: int) -> tuple[int, int]:
        """Returns the number of zeros before and after a side of `size` pixels."""
        if not self.same:
            return 0, 0
        side = self.kernel.shape[0]
        missing = max((-(-size // self.stride) - 1) * self.stride + side - size, 0)
        return missing // 2, missing - missing // 2


@dataclasses.dataclass(frozen=True)
class Dense:
    """Matrix product with a kernel (in, out), a bias, and its activation."""

    name: str
    kernel: Float32[np.ndarray, "in out"]
    bias: Float32[np.ndarray, " out"]
    activation: Activation


@dataclasses.dataclass(frozen=True)
class Scale:
    """Multiplies every value by `factor`, then adds `offset`."""

    name: str
    factor: float
    offset: float


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """2 x 2 max pooling; an odd last row or column is dropped."""

    name: str


@dataclasses.dataclass(frozen=True)
class Mean:
    """Mean of each channel over the image (global average pooling)."""

    name: str


@dataclasses.dataclass(frozen=True)
class Flatten:
    """Flattens an image in the order rows, columns, channels."""

    name: str


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Does nothing in evaluation mode; it marks where dropout belongs if training continues."""

    name: str
    rate: float


@dataclasses.dataclass(frozen=True)
class Residual:
    """Adds the input to the output of these layers."""

    name: str
    layers: tuple[Layer, ...]


Layer = Conv | Dense | Scale | MaxPool | Mean | Flatten | Dropout | Residual


def flat(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yields all layers in order, including those within a `Residual`."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat(layer.layers)
        yield layer


def weights_of(layer: nnx.Conv | nnx.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel and bias of a Flax layer, in float32."""
    assert layer.bias is not None
    return np.asarray(layer.kernel[...], np.float32), np.asarray(layer.bias[...], np.float32)
