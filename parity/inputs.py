"""What a port and its original are both given: batches, dropout masks, and whole trainings."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

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
