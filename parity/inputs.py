"""The inputs of both a port and its original: batches, dropout masks, and training runs."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array

from reference.legacy import seeded

Masks = tuple[Array | np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Pixels (uint8), labels, and the dropout masks of one step; without masks, no dropout."""

    pixels: np.ndarray
    labels: np.ndarray
    masks: Masks | None = None


@dataclasses.dataclass(frozen=True)
class Training:
    """A training run: its initial weights, its batches, and the steps after which to compare."""

    weights: Mapping[str, np.ndarray]
    batches: Sequence[Batch]
    kept_steps: tuple[int, ...]
    image_size: int
    draw: int = 0
    with_accumulators: bool = True
    """Whether the optimiser's accumulators are compared too, or the weights alone."""


def prescribed_gradient(name: str, shape: tuple[int, ...], step: int, dtype: str) -> np.ndarray:
    """A weight's gradient at one step of rung 8: `seeded.gradients`, which is drawn only once."""
    return _drawn_gradient(name, shape, step).astype(dtype)


@functools.cache
def _drawn_gradient(name: str, shape: tuple[int, ...], step: int) -> np.ndarray:
    # Exact, because the draws are rounded to float32 in every precision.
    return np.asarray(seeded.gradients(name, shape, step, "float32"))
