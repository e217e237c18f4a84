"""Layers of a network with their weights in NumPy, as every other runtime can be given them."""

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


def flat(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers, those within a `Residual` too, in order."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat(layer.layers)
        yield layer


def weights_of(layer: nnx.Conv | nnx.Linear) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and the bias of a Flax layer, in float32."""
    assert layer.bias is not None
    return np.asarray(layer.kernel[...], np.float32), np.asarray(layer.bias[...], np.float32)
