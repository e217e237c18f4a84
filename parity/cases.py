"""What both sides are given: weights, batches, masks and prescribed gradients, by name.

Everything comes from `reference.legacy.seeded`, so that today's software, the software of 2018 and
JAX work on the same numbers.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from reference import order
from reference.legacy import seeded

Masks = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Pixels (uint8), labels, and the dropout masks of one step (none: no dropout)."""

    pixels: np.ndarray
    labels: np.ndarray
    masks: Masks | None = None


@dataclasses.dataclass(frozen=True)
class Training:
    """A run of training: where it starts, what it sees, and after which steps it is looked at."""

    weights: Mapping[str, np.ndarray]
    batches: Sequence[Batch]
    kept_steps: tuple[int, ...]
    image_size: int
    draw: int = 0
    with_means: bool = True
    """Whether the optimiser's means are looked at too, or the weights alone."""


def cnn_masks(name: str, batch: int) -> Masks:
    """A dropout mask for the CNN, half of it kept."""
    return (seeded.random("mask " + name).uniform(size=(batch, 64)) >= 0.5,)


def mlp_masks(name: str, batch: int) -> Masks:
    """Dropout masks for the MLP, four fifths kept."""
    rng = seeded.random("mask " + name)
    return rng.uniform(size=(batch, 64)) >= 0.2, rng.uniform(size=(batch, 32)) >= 0.2


def cnn_steps(image_size: int, dtype: str, draw: int = 0, steps: int = seeded.STEPS) -> Training:
    """The first steps of the CNN on one of several draws of pictures and masks."""
    batches = []
    for step in range(steps):
        pixels, labels = seeded.cnn_batch(image_size, 100 * draw + step)
        masks = cnn_masks(f"cnn {image_size} {draw} {step}", len(labels))
        batches.append(Batch(pixels, labels, masks))
    weights = seeded.cnn_weights(image_size, dtype)
    return Training(weights, batches, seeded.KEPT_STEPS, image_size, draw)


def cnn_recipe(dtype: str, rows: Sequence[np.ndarray], masks: Sequence[Masks]) -> Training:
    """The study's whole recipe at 64 pixels, in the given order of rows."""
    pixels, labels = seeded.training_set(294, 64)
    batches = [
        Batch(pixels[chosen], labels[chosen], mask)
        for chosen, mask in zip(rows, masks, strict=True)
    ]
    return Training(seeded.cnn_weights(64, dtype), batches, (len(batches),), 64)


def study_rows(images: int = 294, batch_size: int = 25, steps: int = 110) -> list[np.ndarray]:
    """The study's order of batches, with permutations of our own."""
    rng = seeded.random("study rows")
    shown = order.batches(images, batch_size, rng.permutation)
    return [next(shown) for _ in range(steps)]


def mlp_steps(dtype: str, dropout: bool, draw: int = 0) -> Training:
    """The first steps of an MLP."""
    batches = []
    for step in range(seeded.STEPS):
        pixels, labels = seeded.mlp_batch(100 * draw + step)
        masks = mlp_masks(f"mlp {draw} {step}", len(labels)) if dropout else None
        batches.append(Batch(pixels, labels, masks))
    return Training(seeded.mlp_weights(dtype), batches, seeded.KEPT_STEPS, 32, draw)


def mlp_recipe(dtype: str, version: str) -> Training:
    """A version's whole recipe, each image turned and mirrored as `reference.torch_mlp` does.

    Version 3: 100 epochs in batches of 32, dropout in the first epoch only. Version 2.1: five
    epochs of one batch of 150.
    """
    import random

    from reference.torch_mlp import augment

    images, batch_size, epochs = (294, 32, 100) if version == "3" else (150, 150, 5)
    pictures, labels = seeded.training_set(images, 32)
    gray = pictures[..., 0]
    rng, draw = seeded.random("mlp recipe"), random.Random(5)
    batches = []
    for epoch in range(epochs):
        rows = rng.permutation(images)
        for start in range(0, images, batch_size):
            chosen = rows[start : start + batch_size]
            turned = np.stack([augment(image, draw) for image in gray[chosen]])
            dropout = version == "3" and epoch == 0
            masks = mlp_masks(f"recipe {start}", len(chosen)) if dropout else None
            batches.append(Batch(turned, labels[chosen], masks))
    return Training(seeded.mlp_weights(dtype), batches, (len(batches),), 32)


def weights_of(candidate: str, image_size: int, dtype: str) -> Mapping[str, np.ndarray]:
    """The weights that every comparison of a port starts with."""
    if candidate == "study-cnn":
        return seeded.cnn_weights(image_size, dtype)
    return seeded.mlp_weights(dtype)


def first_batch(
    candidate: str, image_size: int, masks: Masks | None = None, draw: int = 0
) -> Batch:
    """The batch on which outputs and gradients are compared, or another one."""
    cnn = candidate == "study-cnn"
    pixels, labels = seeded.cnn_batch(image_size, draw) if cnn else seeded.mlp_batch(draw)
    return Batch(pixels, labels, masks)


def masks_of(candidate: str) -> Masks:
    """Masks for `first_batch` at the small size."""
    batch = len(first_batch(candidate, 64).labels)
    if candidate == "study-cnn":
        return cnn_masks("first batch", batch)
    return mlp_masks("first batch", batch)
