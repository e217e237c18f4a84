"""`Architecture`: what the package needs to know about a network besides its layers.

This file has the entries of the study's networks, and `backbones` those of pretrained networks;
`backbones.architecture(name)` finds either. A network's class describes what it computes layer by
layer, for other runtimes and for heat maps: see `models.network.Network`. So a new network is one
class and one entry, and no other code asks for a network's name.

Functions import `chifoumi_jax.convert` only when they are called, because it reads files in a dozen
formats, and this module is imported at every start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flax import nnx

from chifoumi_jax.models.cnn import CNN, MIN_IMAGE_SIZE
from chifoumi_jax.models.mlp import IMAGE_SIZE, MLP
from chifoumi_jax.models.network import Network

if TYPE_CHECKING:
    from chifoumi_jax.models.backbone import Backbone

# Sizes of the CNN in pixels. Its weights grow with the square of the size: 4 GB at 4096 pixels.
IMAGE_SIZES = range(MIN_IMAGE_SIZE, 4096 + 1)

Arrays = Mapping[str, Any]


def _no_requirement() -> None:
    """The default of `Architecture.require`: there is nothing to install."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network that a recipe can name.

    Attributes:
        build: `build(image_size, num_classes, dropout_rate=, frozen_stages=, rngs=)` gives the
            network with random initial weights.
        pretrained: `pretrained(image_size)` gives a network with pretrained weights, from which the
            network of `build` copies all but its last layer; None if there are no such weights.
        require: Raises `PretrainedError` if the pretrained weights are not installed. A training
            calls it first, before it reads photos.
        to_arrays: `to_arrays(network)` gives its weights by the original's names, as in a
            safetensors file; None for a network that cannot be exported.
        from_arrays: `from_arrays(arrays, image_size)` is the inverse of `to_arrays`.
        image_sizes: Supported image sizes, in pixels.
        has_feature_map: Whether it has convolutions, so that heat maps can be computed.
        relative_memory: Memory per pixel of the largest layer, relative to the study's CNN; an
            evaluation takes so many times fewer images at once.
        has_native_kernels: Whether the C++ kernels of `chifoumi_jax.ops` make it faster.
    """

    build: Callable[..., Network]
    pretrained: Callable[[int], Backbone] | None = None
    require: Callable[[], None] = _no_requirement
    to_arrays: Callable[[Any], dict[str, np.ndarray]] | None = None
    from_arrays: Callable[[Arrays, int], Network] | None = None
    image_sizes: range = IMAGE_SIZES
    has_feature_map: bool = True
    relative_memory: int = 8
    has_native_kernels: bool = False


def _build_cnn(
    image_size: int, num_classes: int, *, dropout_rate: float, frozen_stages: int, rngs: nnx.Rngs
) -> CNN:
    del frozen_stages
    return CNN(image_size, num_classes, dropout_rate=dropout_rate, rngs=rngs)


def _cnn_to_arrays(network: CNN) -> dict[str, np.ndarray]:
    from chifoumi_jax.convert.arrays import cnn_to_arrays

    return cnn_to_arrays(network)


def _cnn_from_arrays(arrays: Arrays, image_size: int) -> CNN:
    from chifoumi_jax.convert.arrays import cnn_from_arrays

    return cnn_from_arrays(arrays, image_size)


def _mlp(relu_logits: bool) -> Architecture:
    def build(
        image_size: int,
        num_classes: int,
        *,
        dropout_rate: float,
        frozen_stages: int,
        rngs: nnx.Rngs,
    ) -> MLP:
        del image_size, frozen_stages
        return MLP(num_classes, dropout_rate=dropout_rate, relu_logits=relu_logits, rngs=rngs)

    def to_arrays(network: MLP) -> dict[str, np.ndarray]:
        from chifoumi_jax.convert.arrays import mlp_to_arrays

        return mlp_to_arrays(network)

    def from_arrays(arrays: Arrays, image_size: int) -> MLP:
        from chifoumi_jax.convert.arrays import mlp_from_arrays

        del image_size
        return mlp_from_arrays(arrays, relu_logits=relu_logits)

    return Architecture(
        build,
        to_arrays=to_arrays,
        from_arrays=from_arrays,
        image_sizes=range(IMAGE_SIZE, IMAGE_SIZE + 1),
        has_feature_map=False,
        relative_memory=1,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "cnn": Architecture(
        _build_cnn,
        to_arrays=_cnn_to_arrays,
        from_arrays=_cnn_from_arrays,
        relative_memory=1,
        has_native_kernels=True,
    ),
    "mlp": _mlp(relu_logits=False),
    "mlp-v21": _mlp(relu_logits=True),
}
"""The study's networks, by their names in recipes."""
