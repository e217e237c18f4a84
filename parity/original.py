"""The interface of an original."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chifoumi_jax.errors import UserError
from parity.check import HasChecks
from parity.inputs import Batch, Masks, Training
from parity.value_and_grad import ValueAndGrad
from reference.legacy import seeded

if TYPE_CHECKING:
    from parity.case import Case

Found = Mapping[str, Any]


class OriginalError(UserError):
    """An original exists, but cannot be compared with."""


class Original(HasChecks, abc.ABC):
    """A model and its training in another framework; both sides use the same names.

    Attributes:
        name: Framework and version, as the report shows it.
        case: The port of this original, and the inputs on which they are compared.
        lists_functions: Whether `structure` also lists layers without weights, such as ReLU.
        has_whole_recipe: Whether it has a `whole_recipe`, which takes seconds to draw.
    """

    name: str
    case: Case
    lists_functions: bool = True
    has_whole_recipe: bool = True

    @abc.abstractmethod
    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Name, kind, output shape and parameters of each layer, in order."""

    @abc.abstractmethod
    def initial(self, draws: int) -> Mapping[str, np.ndarray]:
        """For each weight, the `summary_statistics` of several draws of its initial values."""

    @abc.abstractmethod
    def pixels(self) -> Found:
        """Pixels that the loader and the augmentation make of the decoded pictures of `seeded`."""

    @abc.abstractmethod
    def scaled(self) -> Found:
        """The network's input for each of the 256 values of a pixel."""

    @abc.abstractmethod
    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the batches of training."""

    @abc.abstractmethod
    def forward(self, size: int, dtype: str) -> Found:
        """Every layer's output, and as "whole" the model's."""

    @abc.abstractmethod
    def gradients(self, size: int, dtype: str, batch: Batch) -> ValueAndGrad:
        """The loss, and its gradients with respect to every weight and to the input."""

    @abc.abstractmethod
    def losses(self, dtype: str) -> Found:
        """Values and gradients of the loss on the logits of `seeded`, which saturate and tie."""

    @abc.abstractmethod
    def ties(self, dtype: str) -> Found:
        """Values and gradients of ReLU and pooling where their inputs tie."""

    @abc.abstractmethod
    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> Found:
        """Weights and the optimiser's accumulators after steps with prescribed gradients."""

    @abc.abstractmethod
    def train(self, training: Training, dtype: str) -> Found:
        """Weights and the optimiser's accumulators after training, and each step's loss."""

    @property
    @abc.abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Height and width, in pixels, of the images on which it is compared."""

    @abc.abstractmethod
    def masks(self, size: int, dtype: str) -> Masks | None:
        """The dropout masks of the batch whose gradients are compared; None without dropout."""

    @abc.abstractmethod
    def trainings(
        self,
        dtype: str,
        size: int,
        draws: Sequence[int],
        *,
        steps: int = seeded.STEPS,
        masks_from: str | None = None,
    ) -> list[Training]:
        """The first steps of several training runs, with the dropout masks of this original.

        Args:
            dtype: Dtype of the weights.
            size: Height and width of the images, in pixels.
            draws: Numbers of the draws of pictures and masks.
            steps: The largest number of steps for which pictures are drawn.
            masks_from: The precision of the recording whose masks are used; `dtype` if None.
        """

    @property
    @abc.abstractmethod
    def whole_recipe(self) -> Training:
        """The study's complete training run in float64, with the order and the masks that it used.

        Raises:
            ValueError: If this original has no such run.
        """


class LiveOriginal(Original):
    """An original that runs in this process, so that it accepts any inputs.

    Attributes:
        dropout_rate: Share of the units that the original's dropout zeroes; 0 without dropout.
        file_forms: Kinds of files and objects through which weights are converted to JAX and back.
    """

    dropout_rate: float
    file_forms: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The case's small size alone."""
        return (self.case.size,)

    def masks(self, size: int, dtype: str) -> Masks | None:
        """The masks of the case."""
        del size, dtype
        return self.case.masks

    def trainings(
        self,
        dtype: str,
        size: int,
        draws: Sequence[int],
        *,
        steps: int = seeded.STEPS,
        masks_from: str | None = None,
    ) -> list[Training]:
        """The training runs of the case."""
        del masks_from
        return [self.case.steps(size, dtype, draw, steps) for draw in draws]

    @functools.cached_property
    def whole_recipe(self) -> Training:
        """The complete training run of the case."""
        return self.case.whole_recipe("float64")

    @abc.abstractmethod
    def load(self, path: Path, size: int) -> np.ndarray:
        """A photo's pixels, read by the original's loader."""

    @abc.abstractmethod
    def through_file(
        self, weights: Mapping[str, np.ndarray], form: str, folder: Path
    ) -> tuple[Any, Mapping[str, np.ndarray]]:
        """The JAX model with weights loaded through one of `file_forms`, and the weights back."""

    @abc.abstractmethod
    def settings(self) -> Mapping[str, int | float]:
        """The settings of the original's training that a recipe has under the same names."""

    @abc.abstractmethod
    def predict(
        self, weights: Mapping[str, np.ndarray], pixels: np.ndarray, dtype: str
    ) -> np.ndarray:
        """Probabilities in evaluation mode, with these weights, at the case's small size."""


def summary_statistics(values: np.ndarray) -> list[float]:
    """Minimum, maximum, mean, mean square and mean fourth power of an array's entries."""
    x = np.asarray(values, np.float64)
    square = x * x
    return [x.min(), x.max(), x.mean(), square.mean(), (square * square).mean()]
