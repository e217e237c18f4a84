"""A cache of programs: two trainings of one recipe trace and compile it only once."""

import functools
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from chifoumi_jax.architectures import Architecture
from chifoumi_jax.backbones import architecture
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import Program, build
from chifoumi_jax.training.step import device_mesh


def program_of(
    recipe: Recipe,
    num_classes: int,
    total_steps: int = 1,
    class_weights: Float[np.ndarray, " classes"] | None = None,
) -> Program:
    """A recipe's program for all devices, cached by everything that the program depends on.

    Args:
        recipe: The recipe.
        num_classes: Number of classes.
        total_steps: Number of steps of the training; any number if nothing is trained.
        class_weights: Weight of each class in the training loss; equal by default.
    """
    return _cached_build(
        recipe.program_key(),
        architecture(recipe.model),
        num_classes,
        1 if recipe.schedule == "constant" else total_steps,
        device_mesh(),
        None if class_weights is None else tuple(class_weights.tolist()),
    )


@functools.lru_cache(maxsize=8)
def _cached_build(
    recipe: Recipe,
    # Part of the cache key only, because the registry may change; `build` looks it up again.
    network: Architecture,
    num_classes: int,
    total_steps: int,
    mesh: Mesh,
    class_weights: Sequence[float] | None,
) -> Program:
    del network
    weights = None if class_weights is None else np.array(class_weights, np.float32)
    return build(recipe, num_classes, total_steps, mesh, weights)
