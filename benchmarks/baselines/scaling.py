"""How this project's cost scales with images, pixels, classes and devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from chifoumi_jax import recipes
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Photos
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import Program, build
from chifoumi_jax.training.step import device_mesh


def images(number: int) -> Callable[[], None]:
    """An epoch of the MLP on `number` images."""
    recipe = recipes.study_mlp
    order = Order(number, recipe.batch_size, 1, seed=0)
    rows = np.stack([order[step] for step in range(len(order))])
    return _steps(recipe, 3, number, rows)


def pixels(size: int) -> Callable[[], None]:
    """A step of the CNN with 8 images of `size` x `size` pixels."""
    return _step(recipes.study_cnn.replace(image_size=size), 3, 8)


def classes(number: int) -> Callable[[], None]:
    """A step of the CNN with `number` classes."""
    return _step(recipes.study_cnn.replace(image_size=64), number, 25)


def devices(number: int) -> Callable[[], None]:
    """A step of the CNN on all devices.

    Raises:
        RuntimeError: If there are not `number` devices.
    """
    if jax.device_count() != number:
        raise RuntimeError(f"JAX has {jax.device_count()} devices, expected {number}")
    return _step(recipes.study_cnn.replace(image_size=150), 3, 24)


def _step(recipe: Recipe, num_classes: int, batch_size: int) -> Callable[[], None]:
    rows = np.arange(batch_size, dtype=np.int32)[None]
    return _steps(recipe, num_classes, batch_size, rows)


def _steps(recipe: Recipe, num_classes: int, count: int, rows: np.ndarray) -> Callable[[], None]:
    program: Program = build(recipe, num_classes, 1000, device_mesh())
    random = np.random.default_rng(0)
    photos = jax.device_put(
        Photos(
            random.integers(0, 256, (count, *recipe.input_shape), np.uint8),
            random.integers(0, num_classes, count).astype(np.int32),
        ),
        program.replicated,
    )
    keys = program.seeds(0)
    held: list[Any] = [program.init(keys[0])]

    def work() -> None:
        state, _ = program.steps(held.pop(), photos, rows, 0, len(rows), keys[1], True)
        held.append(jax.block_until_ready(state))

    return work
