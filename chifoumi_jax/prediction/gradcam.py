"""Where a network looks for a class: Grad-CAM.

The last feature map's channels are summed, each with the mean over its places of the gradient of
the class's logit; what is negative speaks for other classes and is left out.

The map is taken after the last convolution's ReLU; in the CNN after its pooling too. Of a window's
four values pooling hands on one, and only that has a gradient: before the pooling the weights would
be the same but for a factor, and three quarters of the map never reach the answer.

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
    """Whether the recipe's network convolves, and so has a heat map."""
    return architecture(recipe.model).has_feature_map


def require_feature_map(recipe: Recipe) -> None:
    """Raise `RunError` if the recipe's network has no feature map."""
    if not has_feature_map(recipe):
        raise RunError(
            "a perceptron has no feature map, and so no heat map: take a run of the recipe cnn or "
            "transfer"
        )


def class_activation(
    model: Network, images: Float[Array, "batch height width 3"], labels: Int32[Array, " batch"]
) -> Float[Array, "batch rows columns"]:
    """How much each place of the feature map speaks for the image's label; 0 at least."""
    maps = model.feature_map(images)

    def picked(maps: Array) -> Array:
        return jnp.sum(jnp.take_along_axis(model.classify_map(maps), labels[:, None], axis=1))

    weights = jnp.mean(jax.grad(picked)(maps), axis=(1, 2))
    return jax.nn.relu(jnp.einsum("bijc,bc->bij", maps, weights))


def heat_maps(
    model: Network,
    images: Float[Array, "batch size size 3"],
    labels: Int32[Array, " batch"],
    *,
    mirror: bool = False,
) -> Float[Array, "batch size size"]:
    """Grad-CAM at the size of the images, each map's greatest value being 1.

    Between places it is linear; see `Network.map_centres`. All is 0 where nothing speaks for the
    class. With `mirror` it is the mean of the image's map and its mirror image's, as the
    probabilities are.
    """
    size = images.shape[1]
    heat = _spread(model, class_activation(model, images, labels), size)
    if mirror:
        mirrored = class_activation(model, images[:, :, ::-1], labels)
        heat = heat + _spread(model, mirrored, size)[:, :, ::-1]
    peaks = jnp.max(heat, axis=(1, 2), keepdims=True)
    return jnp.where(peaks > 0, heat / jnp.where(peaks > 0, peaks, 1.0), 0.0)


def make_explanation(
    graph: nnx.GraphDef[Any], scale: Scale, mesh: Mesh, *, mirror: bool = False
) -> Explanation:
    """`heat_maps` of pixels, compiled: `explain(weights, pixels, labels)`, in full float32.

    The batch is a multiple of the number of devices.
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


def _spread(
    model: Network, places: Float[Array, "batch rows columns"], size: int
) -> Float[Array, "batch size size"]:
    count = places.shape[1]
    first, step = model.map_centres(count)
    at = np.clip((np.arange(size) - first) / step, 0, count - 1)
    # Each pixel's shares of the places before and behind it.
    shares = np.maximum(1 - np.abs(at[:, None] - np.arange(count)), 0).astype(np.float32)
    return jnp.einsum("yi,bij,xj->byx", shares, places, shares)
