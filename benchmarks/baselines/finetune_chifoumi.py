"""Fine-tuning EfficientNet-Lite0, and one depthwise convolution by this project and by XLA.

There is no fine-tuning step by XLA, because one takes too long to be repeated.
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

# Steps in one call, as in the training loop.
STEPS = 4
# The same work as PyTorch's step: every stage is trained, on images without augmentation.
_AS_IN_TORCH = {"frozen_stages": 0, "augmentation": "none", "average": 0.0}


def recipe(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step of the recipe: two frozen stages, augmentation, moving average of the weights."""
    return _step(recipes.transfer.replace(image_size=image_size), batch_size)


def all_stages(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step that trains every stage, without augmentation and moving average."""
    return _step(recipes.transfer.replace(image_size=image_size, **_AS_IN_TORCH), batch_size)


def depthwise(batch_size: int, size: int, channels: int) -> Callable[[], None]:
    """One depthwise convolution and both of its gradients."""
    return _with_gradients(depthwise_conv, batch_size, size, channels)


def depthwise_by_xla(batch_size: int, size: int, channels: int) -> Callable[[], None]:
    """The same convolution and gradients by XLA."""
    return _with_gradients(_by_xla, batch_size, size, channels)


def _step(recipe: Recipe, batch_size: int) -> Callable[[], None]:
    program = build(recipe, inputs.CLASSES, 1000, device_mesh())
    key = jax.random.key(0)
    # Pretrained like PyTorch's, because random weights would give gradients close to zero.
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


def _with_gradients(
    operation: Any, batch_size: int, size: int, channels: int
) -> Callable[[], None]:
    random = np.random.default_rng(0)
    shape = (batch_size, size, size, channels)
    images, cotangent = (jnp.asarray(random.random(shape, np.float32)) for _ in range(2))
    kernel = jnp.asarray(random.random((3, 3, channels), np.float32))

    @jax.jit
    def run(images: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        result, vjp = jax.vjp(operation, images, kernel)
        return result, vjp(cotangent)

    def steps() -> Any:
        for _ in range(STEPS):
            found = jax.block_until_ready(run(images, kernel, cotangent))
        return found

    return steps
