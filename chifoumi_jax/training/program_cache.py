"""Programs by what decides them: two trainings of one recipe trace and compile it once."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from chifoumi_jax.backbones import BACKBONES, STAGES_OF, Entry
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import Program, build
from chifoumi_jax.training.step import device_mesh

# What a program is not made of, with any value: photos, their order and when a training ends. As
# the program is made of the recipe with these values, it cannot depend on others.
_ELSEWHERE: Mapping[str, Any] = {
    "name": "",
    "epochs": 1,
    "min_steps": 0,
    "patience": 0,
    "batch_size": 0,
    "order": "all",
    "dropout_epochs": -1,
    "data": None,
    "hands": 0,
    "groups": None,
    "train_list": None,
    "test_list": None,
    "valid_share": 0.0,
    "strict": False,
    "seed": 0,
    "runs": Path("runs"),
}


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
        recipe.replace(**_ELSEWHERE),
        BACKBONES.get(recipe.model),
        STAGES_OF.get(recipe.model),
        num_classes,
        1 if recipe.schedule == "constant" else total_steps,
        device_mesh(),
        None if class_weights is None else tuple(class_weights.tolist()),
    )


@functools.lru_cache(maxsize=8)
def _built(
    recipe: Recipe,
    # Looked up by `build` again; here since the tables may change.
    backbone: Entry | None,
    stages: int | None,
    num_classes: int,
    total_steps: int,
    mesh: Mesh,
    class_weights: Sequence[float] | None,
) -> Program:
    del backbone, stages
    weights = None if class_weights is None else np.array(class_weights, np.float32)
    return build(recipe, num_classes, total_steps, mesh, weights)
