"""The study's MLPs, versions 3 and 2.1: JAX ports, PyTorch originals, and their inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from chifoumi_jax import losses, recipes
from chifoumi_jax.convert.arrays import mlp_from_arrays, mlp_to_arrays
from chifoumi_jax.optim import torch_sgd
from chifoumi_jax.training.step import scale_torch
from parity.candidate import Candidate, Model, Weights, candidate, logits
from parity.case import Case
from parity.inputs import Batch, Masks, Training
from parity.original import Original
from reference.legacy import seeded

SIZE = 32


def mlp_masks(name: str, batch: int) -> Masks:
    """Dropout masks for the MLP that keep four fifths of the units."""
    rng = seeded.random("mask " + name)
    return rng.uniform(size=(batch, 64)) >= 0.2, rng.uniform(size=(batch, 32)) >= 0.2


def mlp_steps(dtype: str, dropout: bool, draw: int = 0) -> Training:
    """The first steps of an MLP."""
    batches = []
    for step in range(seeded.STEPS):
        pixels, labels = seeded.mlp_batch(100 * draw + step)
        masks = mlp_masks(f"mlp {draw} {step}", len(labels)) if dropout else None
        batches.append(Batch(pixels, labels, masks))
    return Training(seeded.mlp_weights(dtype), batches, seeded.KEPT_STEPS, 32, draw)


def mlp_recipe(
    dtype: str, images: int, batch_size: int, epochs: int, dropout_epochs: int
) -> Training:
    """A complete recipe, with each image rotated and mirrored as `reference.torch_mlp` does."""
    import random

    from reference.torch_mlp import augment

    pictures, labels = seeded.training_set(images, 32)
    gray = pictures[..., 0]
    rng, draw = seeded.random("mlp recipe"), random.Random(5)
    batches = []
    for epoch in range(epochs):
        rows = rng.permutation(images)
        for start in range(0, images, batch_size):
            chosen = rows[start : start + batch_size]
            turned = np.stack([augment(image, draw) for image in gray[chosen]])
            masks = None
            if epoch < dropout_epochs:
                masks = mlp_masks(f"recipe {start}", len(chosen))
            batches.append(Batch(turned, labels[chosen], masks))
    return Training(seeded.mlp_weights(dtype), batches, (len(batches),), 32)


def _mlp_ties(
    from_arrays: Callable[..., Model], logits: Callable[..., Array], dtype: str
) -> Weights:
    """Gradient of ReLU around zero: each of four pixels passes one ReLU; later ReLUs are active."""
    weights = {name: np.zeros(shape, dtype) for name, shape in seeded.mlp_shapes().items()}
    for name in ("fc1.weight", "fc2.weight"):
        weights[name][range(4), range(4)] = 1
    weights["fc2.bias"][:] = 1
    weights["fc3.weight"][0] = 1
    model = from_arrays(weights, 32, dtype)
    images = np.zeros((1, 32, 32), dtype)
    images[0, 0, :4] = (-1, -0.0, 0, 1)
    gradient = jax.grad(lambda x: logits(model, x, None)[0, 0])(jnp.asarray(images))
    return {"relu": np.asarray(gradient)[0, 0, :4]}


def _port(recipe: recipes.Recipe, loss: losses.Loss, *, relu_logits: bool) -> Candidate:
    def from_arrays(weights: Weights, image_size: int, dtype: Any) -> Model:
        del image_size
        return mlp_from_arrays(
            weights,
            dtype=dtype,
            relu_logits=relu_logits,
            dropout_rate=recipe.dropout_rate,
        )

    return candidate(
        recipe,
        recipe,
        scale=scale_torch,
        from_arrays=from_arrays,
        to_arrays=mlp_to_arrays,
        optimizer=lambda: torch_sgd(recipe.learning_rate, recipe.momentum),
        ties=functools.partial(_mlp_ties, from_arrays, logits),
        loss=loss,
    )


def _steps(dropout: bool) -> Callable[[int, str, int, int], Training]:
    def steps(size: int, dtype: str, draw: int, count: int) -> Training:
        del size, count
        return mlp_steps(dtype, dropout, draw)

    return steps


def _originals(case: Case, version: str, *, log_probabilities: bool) -> list[Original]:
    from parity.originals.golden import golden_torch
    from parity.originals.torch_mlp import TorchMlp

    return [
        TorchMlp(case, version, log_probabilities=log_probabilities),
        golden_torch(case, f"v{version.replace('.', '')}/"),
    ]


def originals_v3() -> list[Original]:
    """Today's PyTorch and PyTorch 1.0.0; imports PyTorch."""
    return _originals(CASE_V3, "3", log_probabilities=True)


def originals_v21() -> list[Original]:
    """The same for version 2.1."""
    return _originals(CASE_V21, "2.1", log_probabilities=False)


def _case(port: Candidate, **fields: Any) -> Case:
    """The fields that both versions share."""
    return Case(
        port=port,
        total_params=67_779,
        size=SIZE,
        recorded_sizes=(SIZE,),
        picture_size=lambda number: SIZE,
        photo_size=SIZE,
        shapes=seeded.mlp_shapes,
        weights=lambda size, dtype: seeded.mlp_weights(dtype),
        batch=lambda size, draw: Batch(*seeded.mlp_batch(draw)),
        training_pictures=lambda count: seeded.training_set(count, SIZE)[0][..., 0],
        **fields,
    )


# Version 3: 100 epochs in batches of 32, dropout in the first epoch only.
CASE_V3 = _case(
    _port(recipes.study_mlp, losses.cross_entropy, relu_logits=False),
    orders=((294, 32, 3),),
    masks=mlp_masks("first batch", len(seeded.mlp_batch(0)[1])),
    steps=_steps(dropout=True),
    whole_recipe=lambda dtype: mlp_recipe(dtype, 294, 32, 100, dropout_epochs=1),
)

# Version 2.1: five epochs of one batch of 150, no dropout.
CASE_V21 = _case(
    _port(recipes.study_mlp_v21, losses.cross_entropy_of_softmax, relu_logits=True),
    masks=None,
    steps=_steps(dropout=False),
    whole_recipe=lambda dtype: mlp_recipe(dtype, 150, 150, 5, dropout_epochs=0),
)
