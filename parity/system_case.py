"""A port of one of the study's small systems, and the original that answers what the rungs ask.

Everything that differs between systems is a field or a method here, so that no rung depends on a
system's name. All inputs are prescribed: weights, batches, their order, and the noise.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from chifoumi_jax.systems.system import System
from parity.check import HasChecks

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SystemCase:
    """A port with the inputs on which it is compared.

    Attributes:
        port: The JAX port.
        weights: The weights with which every comparison starts, in float64, by the original's
            names and in its layout.
        batch: The examples on which outputs, loss and gradients are compared, in float64.
        carry: What the system carries into that batch; None for its initial value.
        epochs: Number of epochs of the training that is compared step by step.
        trajectory_bound: The largest difference after that training, relative to the movement of
            the weights, and its reason.
    """

    port: System
    weights: Arrays
    batch: Arrays
    carry: np.ndarray | None = None
    epochs: int
    trajectory_bound: tuple[float, str]

    @property
    def name(self) -> str:
        """The system's name, by which a user selects it."""
        return self.port.name


class SystemOriginal(HasChecks, abc.ABC):
    """The original of a system, in its own framework.

    Attributes:
        name: Framework and version, as the report shows it.
        case: The port and the inputs.
    """

    name: str
    case: SystemCase

    @abc.abstractmethod
    def initial(self, seed: int) -> Arrays:
        """Freshly drawn weights in float32."""

    @abc.abstractmethod
    def live(self, weights: Arrays) -> object:
        """The original's own object with these weights, as `System.load_original` takes it."""

    @abc.abstractmethod
    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """The model's output, as "output", and those of its layers before it where it has any."""

    @abc.abstractmethod
    def value_and_gradients(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """The loss of the batch, as "loss", and its gradient by each weight."""

    @abc.abstractmethod
    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """The weights after one update for each of the prescribed gradients, in float64."""

    @abc.abstractmethod
    def train(self, weights: Arrays, orders: Sequence[np.ndarray]) -> Arrays:
        """The weights after an epoch in each of these orders, in float64.

        Also "loss": the loss of each epoch as the study printed it.
        """
