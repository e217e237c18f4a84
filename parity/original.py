"""What an original can be asked."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chifoumi_jax.errors import UserError
from parity.cases import Batch, Masks, Training
from parity.check import Check
from parity.comparison import Comparison
from parity.slope import Slope
from reference.legacy import seeded

if TYPE_CHECKING:
    from parity.systems.case import Case

Found = Mapping[str, Any]


class OriginalError(UserError):
    """An original is there, but not as it must be to be compared with."""


class Original(abc.ABC):
    """A model and its training as another framework computes them, by names that both sides use.

    Attributes:
        name: Framework and version, as the report shows it.
        case: The port that it is the original of, and what they are compared on.
        lists_functions: Whether `structure` has the functions between layers with weights too.
    """

    name: str
    case: Case
    lists_functions: bool = True

    def check(
        self,
        rung: int,
        case: str,
        *,
        bound: float,
        because: str,
        run: Callable[[Any], Comparison],
        quick: bool = False,
    ) -> Check:
        """A check of this original's port; see `Check`."""
        return Check(rung, self.case.name, self.name, case, bound, because, run, quick)

    @abc.abstractmethod
    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Name, kind, output shape and parameters of each layer, in order."""

    @abc.abstractmethod
    def initial(self, draws: int) -> Mapping[str, np.ndarray]:
        """For each weight, `moments` of several draws of its initial values."""

    @abc.abstractmethod
    def pixels(self) -> Found:
        """Pixels of the decoded cases of `seeded`, and whatever the loader does with them."""

    @abc.abstractmethod
    def scaled(self) -> Found:
        """What becomes of each of the 256 values of a pixel."""

    @abc.abstractmethod
    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the batches of training."""

    @abc.abstractmethod
    def forward(self, size: int, dtype: str) -> Found:
        """Every layer's output, and the whole's."""

    @abc.abstractmethod
    def gradients(self, size: int, dtype: str, batch: Batch) -> Slope:
        """The loss, and the gradient of every weight and of the input."""

    @abc.abstractmethod
    def losses(self, dtype: str) -> Found:
        """Value and gradient of the loss where it saturates and ties."""

    @abc.abstractmethod
    def ties(self, dtype: str) -> Found:
        """Values and gradients of ReLU and pooling where values tie."""

    @abc.abstractmethod
    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> Found:
        """Weights and the optimiser's means after steps with prescribed gradients."""

    @abc.abstractmethod
    def train(self, training: Training, dtype: str) -> Found:
        """Weights and the optimiser's means after training, and each step's loss."""

    @property
    @abc.abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Height and width of the images on which it is compared."""

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
        """The first steps of several draws, with the masks that this original used or will use.

        Args:
            dtype: Of the weights.
            size: Of the images.
            draws: Numbers of the draws.
            steps: For no more steps than this are pictures drawn.
            masks_from: The precision of the recording whose masks are used; `dtype` if None.
        """

    @property
    @abc.abstractmethod
    def whole_recipe(self) -> Training | None:
        """The study's whole training in float64, in the order and with the masks it used.

        None if this original has not trained by the whole recipe.
        """


class LiveOriginal(Original):
    """An original that runs in this process, and can therefore be given anything.

    Attributes:
        dropout_rate: Share of the units that the original's dropout zeroes; 0 without dropout.
        file_forms: Kinds of files and objects through which weights go into JAX and back.
    """

    dropout_rate: float
    file_forms: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The small size alone."""
        return (self.case.size,)

    def masks(self, size: int, dtype: str) -> Masks | None:
        """Those of the case."""
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
        """Those of the case."""
        del masks_from
        return [self.case.steps(size, dtype, draw, steps) for draw in draws]

    @functools.cached_property
    def whole_recipe(self) -> Training:
        """That of the case."""
        return self.case.whole_recipe("float64")

    @abc.abstractmethod
    def load(self, path: Path, size: int) -> np.ndarray:
        """A photo's pixels as the original's loader gives them."""

    @abc.abstractmethod
    def through_file(
        self, weights: Mapping[str, np.ndarray], form: str, folder: Path
    ) -> tuple[Any, Mapping[str, np.ndarray]]:
        """The JAX model that got these weights through one of `file_forms`, and what came back."""

    @abc.abstractmethod
    def settings(self) -> Mapping[str, int | float]:
        """Those of the original's training that a recipe has under the same name."""

    @abc.abstractmethod
    def predict(
        self, weights: Mapping[str, np.ndarray], pixels: np.ndarray, dtype: str
    ) -> np.ndarray:
        """Probabilities in evaluation mode, with these weights, at the small size."""


def moments(values: np.ndarray) -> list[float]:
    """Least, greatest, mean, mean square and mean fourth power of an array's entries."""
    x = np.asarray(values, np.float64)
    return [x.min(), x.max(), x.mean(), (x**2).mean(), (x**4).mean()]
