"""A port of one of the study's photo classifiers, and what it is compared on.

Everything that differs between ports is a field here. The rungs never ask for a port's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chifoumi_jax.recipes import RECIPES, Recipe
from parity.candidate import Candidate
from parity.cases import Batch, Masks, Training

if TYPE_CHECKING:
    from parity.original import Original


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A port with its originals, inputs and sizes.

    All inputs come from `reference.legacy.seeded`, so that today's software, the software of 2018
    and JAX work on the same numbers.

    Attributes:
        port: The JAX port.
        originals: Today's original and that of 2018; imports their frameworks.
        total_params: Number of parameters, as the study prints it.
        size: Height and width of the images on which today's original is compared.
        recorded_sizes: Sizes on which the software of 2018 was recorded.
        large_sizes: Further sizes at which today's original trains in float32.
        recorded_draws: Number of trainings in float32 that were recorded.
        orders: Images, batch size and epochs of the orders that are compared.
        picture_size: Size to which each decoded picture of `seeded` is resized, by its number.
        photo_size: Size to which photos are resized to compare the loaders.
        shapes: Shapes of the weights, by name.
        weights: `weights(size, dtype)`: the weights that every comparison starts with.
        batch: `batch(size, draw)`: pixels and labels.
        masks: Dropout masks for the first batch; None if the model has no dropout.
        steps: `steps(size, dtype, draw, steps)`: the first steps of a training.
        whole_recipe: `whole_recipe(dtype)`: the study's whole training.
        training_pictures: `training_pictures(count)`: pictures as the network takes them.
        trains_independently: Whether `parity.equivalence` holds a result for it.
    """

    port: Candidate
    originals: Callable[[], list[Original]]
    total_params: int
    size: int
    recorded_sizes: tuple[int, ...]
    large_sizes: tuple[int, ...] = ()
    recorded_draws: int = 1
    orders: tuple[tuple[int, int, int], ...] = ()
    picture_size: Callable[[int], int]
    photo_size: int
    shapes: Callable[[], Mapping[str, tuple[int, ...]]]
    weights: Callable[[int, str], Mapping[str, np.ndarray]]
    batch: Callable[[int, int], Batch]
    masks: Masks | None
    steps: Callable[[int, str, int, int], Training]
    whole_recipe: Callable[[str], Training]
    training_pictures: Callable[[int], np.ndarray]
    trains_independently: bool = False

    @property
    def name(self) -> str:
        """The name of its recipe, by which a user asks for it."""
        return self.port.name

    @property
    def recipe(self) -> Recipe:
        """The recipe that `chifoumi train` uses."""
        return RECIPES[self.name]

    def first_batch(self, size: int, masks: Masks | None = None, draw: int = 0) -> Batch:
        """The batch on which outputs and gradients are compared, or another draw of it."""
        return dataclasses.replace(self.batch(size, draw), masks=masks)

    def replace(self, **fields: Any) -> Case:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **fields)


def with_masks(training: Training, masks: Sequence[Masks | None]) -> Training:
    """The same training with these dropout masks, which may be padded to the largest batch."""
    batches = [
        dataclasses.replace(batch, masks=mask and tuple(part[: len(batch.labels)] for part in mask))
        for batch, mask in zip(training.batches, masks, strict=True)
    ]
    return dataclasses.replace(training, batches=batches)
