"""Programs by what decides them: two trainings of one recipe trace and compile it once."""

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
    """A recipe's program for all devices, the one of an earlier call where it is the same.

    Args:
        recipe: What to do.
        num_classes: Number of classes.
        total_steps: Of the training; anything where nothing is trained.
        class_weights: How much an image of each class counts in training; alike by default.
    """
    return _built(
        recipe.program_key(),
        architecture(recipe.model),
        num_classes,
        1 if recipe.schedule == "constant" else total_steps,
        device_mesh(),
        None if class_weights is None else tuple(class_weights.tolist()),
    )


@functools.lru_cache(maxsize=8)
def _built(
    recipe: Recipe,
    # `build` looks it up again; it is part of the key because the registry may change.
    network: Architecture,
    num_classes: int,
    total_steps: int,
    mesh: Mesh,
    class_weights: Sequence[float] | None,
) -> Program:
    del network
    weights = None if class_weights is None else np.array(class_weights, np.float32)
    return build(recipe, num_classes, total_steps, mesh, weights)
