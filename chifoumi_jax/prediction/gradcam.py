"""Grad-CAM: heat maps that show where a network sees a class.

The heat map is a weighted sum of the last feature map's channels. A channel's weight is the mean,
over its cells, of the gradient of the class's logit. Negative sums are evidence for other classes
and are set to zero.

The feature map is the output of the last convolution's ReLU; in the CNN it is the output of the
pooling that follows. Pooling passes one of a window's four values on, and only that value has a
gradient. Before the pooling the weights would be the same up to a factor, but three quarters of the
map would never reach the logits.

Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization", equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int32, UInt8

from chifoumi_jax.backbones import architecture
from chifoumi_jax.models.network import Network
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.step import AXIS, Params, Scale, matmul_precision

Explanation = Callable[
    [Params, UInt8[np.ndarray, "batch ..."], Int32[np.ndarray, " batch"]],
    Float[Array, "batch height width"],
]


def has_feature_map(recipe: Recipe) -> bool:
    """Whether the recipe's network has convolutions, and therefore heat maps."""
    return architecture(recipe.model).has_feature_map


def require_feature_map(recipe: Recipe) -> None:
    """Raise `RunError` if the recipe's network has no feature map."""
    if not has_feature_map(recipe):
        raise RunError(
            "a perceptron has no feature map and therefore no heat map: use a run of the recipe "
            "cnn or transfer"
        )


def class_activation(
    model: Network, images: Float[Array, "batch height width 3"], labels: Int32[Array, " batch"]
) -> Float[Array, "batch rows columns"]:
    """How much evidence for the image's label each cell of the feature map holds; at least 0."""
    maps = model.feature_map(images)

    def label_logits(maps: Array) -> Array:
        return jnp.sum(jnp.take_along_axis(model.classify_map(maps), labels[:, None], axis=1))

    weights = jnp.mean(jax.grad(label_logits)(maps), axis=(1, 2))
    return jax.nn.relu(jnp.einsum("bijc,bc->bij", maps, weights))


def heat_maps(
    model: Network,
    images: Float[Array, "batch size size 3"],
    labels: Int32[Array, " batch"],
    *,
    mirror: bool = False,
) -> Float[Array, "batch size size"]:
    """Grad-CAM at the size of the images; each map's largest value is 1.

    Values between the centres of cells are interpolated linearly; see `Network.map_centres`. A map
    is all 0 if nothing is evidence for the class. With `mirror`, a map is the mean of the image's
    map and its mirror image's map, because the probabilities are such a mean too.
    """
    size = images.shape[1]
    heat = _upsample(model, class_activation(model, images, labels), size)
    if mirror:
        mirrored = class_activation(model, images[:, :, ::-1], labels)
        heat = heat + _upsample(model, mirrored, size)[:, :, ::-1]
    peaks = jnp.max(heat, axis=(1, 2), keepdims=True)
    return jnp.where(peaks > 0, heat / jnp.where(peaks > 0, peaks, 1.0), 0.0)


def make_explanation(
    graph: nnx.GraphDef[Any], scale: Scale, mesh: Mesh, *, mirror: bool = False
) -> Explanation:
    """Compile `heat_maps` as `explain(weights, pixels, labels)`, in full float32.

    The batch size must be a multiple of the number of devices.
    """

    @jax.jit
    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P(AXIS), P(AXIS)),
        out_specs=P(AXIS),
        check_vma=False,
    )
    def explain(weights: Params, pixels: Array, labels: Array) -> Array:
        with matmul_precision("float32"):
            model = nnx.merge(graph, weights)
            assert isinstance(model, Network)
            return heat_maps(model, scale(pixels), labels, mirror=mirror)

    return explain


def _upsample(
    model: Network, cells: Float[Array, "batch rows columns"], size: int
) -> Float[Array, "batch size size"]:
    count = cells.shape[1]
    first, step = model.map_centres(count)
    positions = np.clip((np.arange(size) - first) / step, 0, count - 1)
    # Each pixel's interpolation weights for the cells before and after it.
    weights = np.maximum(1 - np.abs(positions[:, None] - np.arange(count)), 0).astype(np.float32)
    return jnp.einsum("yi,bij,xj->byx", weights, cells, weights)
