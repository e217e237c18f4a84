"""What an original can be asked."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chifoumi_jax.errors import UserError
from parity.cases import Batch, Training
from parity.check import Check
from parity.comparison import Comparison

Found = Mapping[str, Any]


class OriginalError(UserError):
    """An original is there, but not as it must be to be compared with."""


class Original(abc.ABC):
    """A model and its training as another framework computes them, by names that both sides use.

    Attributes:
        name: Framework and version, as the report shows it.
        candidate: Name of the port that it is the original of.
    """

    name: str
    candidate: str

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
        return Check(rung, self.candidate, self.name, case, bound, because, run, quick)

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
    def gradients(self, size: int, dtype: str, batch: Batch) -> Found:
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


class LiveOriginal(Original):
    """An original that runs in this process, and can therefore be given anything."""

    dropout_rate: float
    """Share of the units that the original's dropout zeroes; 0 without dropout."""

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
