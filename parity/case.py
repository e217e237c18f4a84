"""A port of one of the study's photo classifiers, and the inputs on which it is compared.

Everything that differs between ports is a field here, so that no rung depends on a port's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chifoumi_jax.recipes import RECIPES, Recipe
from parity.candidate import Candidate
from parity.inputs import Batch, Masks, Training


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A port with its inputs and sizes.

    All inputs come from `reference.legacy.seeded`, so that today's software, the software of 2018
    and JAX compute on the same numbers.

    Attributes:
        port: The JAX port.
        total_params: Number of parameters, as the study prints it.
        size: Height and width, in pixels, of the images on which today's original is compared.
        recorded_sizes: Image sizes at which the software of 2018 was recorded.
        large_sizes: Further image sizes at which today's original trains in float32.
        recorded_draws: Number of float32 training runs that were recorded.
        orders: (images, batch size, epochs) of each order of batches that is compared.
        picture_size: Returns the size to which a decoded picture of `seeded` is resized, from its
            number.
        photo_size: Size to which photos are resized to compare the loaders.
        shapes: Returns the shapes of the weights, by name.
        weights: `weights(size, dtype)` returns the weights with which every comparison starts.
        batch: `batch(size, draw)` returns pixels and labels.
        masks: Dropout masks for the first batch; None if the model has no dropout.
        steps: `steps(size, dtype, draw, steps)` returns the first steps of a training run.
        whole_recipe: `whole_recipe(dtype)` returns the study's complete training run.
        recipe_is_long: Whether this run takes today's original so long that `make test` leaves it
            out.
        training_pictures: `training_pictures(count)` returns pictures in the network's input shape.
        trains_independently: Whether `parity.equivalence` also trained port and original apart,
            each with its own random numbers, and compared the accuracies.
    """

    port: Candidate
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
    recipe_is_long: bool = False
    trains_independently: bool = False

    @property
    def name(self) -> str:
        """The name of its recipe, by which a user selects it."""
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
