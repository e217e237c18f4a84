"""Fine-tuning EfficientNet-Lite0, and one depthwise convolution, ours and XLA's.

With XLA's a whole step takes too long to be repeated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.baselines import inputs
from chifoumi_jax import recipes
from chifoumi_jax.data.pipeline import Photos
from chifoumi_jax.ops import depthwise_conv
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import build
from chifoumi_jax.training.step import device_mesh
from chifoumi_jax.training.transfer import with_pretrained

# Steps in a call, as in a training's loop.
STEPS = 4
# What PyTorch's step does too: every stage is trained, on images as they are.
_PLAIN = {"frozen_stages": 0, "augmentation": "none", "average": 0.0}


def recipe(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step as the recipe takes it: two stages frozen, augmentation, the moving average."""
    return _step(recipes.transfer.replace(image_size=image_size), batch_size)


def whole(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step that trains every stage, and nothing besides."""
    return _step(recipes.transfer.replace(image_size=image_size, **_PLAIN), batch_size)


def depthwise(batch_size: int, side: int, channels: int) -> Callable[[], None]:
    """One convolution, and both of its gradients."""
    return _both_ways(depthwise_conv, batch_size, side, channels)


def depthwise_by_xla(batch_size: int, side: int, channels: int) -> Callable[[], None]:
    """The same by XLA."""
    return _both_ways(_by_xla, batch_size, side, channels)


def _step(recipe: Recipe, batch_size: int) -> Callable[[], None]:
    program = build(recipe, inputs.CLASSES, 1000, device_mesh())
    key = jax.random.key(0)
    # As PyTorch's does: weights drawn at random would give gradients next to nothing.
    state = with_pretrained(key, recipe, program) if recipe.pretrained else program.init(key)
    held: list[Any] = [state]
    pixels = inputs.images(batch_size, recipe.image_size), inputs.labels(batch_size)
    photos = jax.device_put(Photos(*pixels), program.replicated)
    rows = np.tile(np.arange(batch_size, dtype=np.int32), (STEPS, 1))

    def steps() -> None:
        state, sums = program.steps(held.pop(), photos, rows, 0, STEPS, key, True)
        held.append(jax.block_until_ready(state))
        assert np.isfinite(sums.loss).all()

    return steps


def _by_xla(images: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(
        images,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=images.shape[-1],
    )


def _both_ways(operation: Any, batch_size: int, side: int, channels: int) -> Callable[[], None]:
    random = np.random.default_rng(0)
    shape = (batch_size, side, side, channels)
    images, cotangent = (jnp.asarray(random.random(shape, np.float32)) for _ in range(2))
    kernel = jnp.asarray(random.random((3, 3, channels), np.float32))

    @jax.jit
    def run(images: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        result, pull_back = jax.vjp(operation, images, kernel)
        return result, pull_back(cotangent)

    def several() -> Any:
        for _ in range(STEPS):
            found = jax.block_until_ready(run(images, kernel, cotangent))
        return found

    return several
