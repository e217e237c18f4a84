"""A port of one of the study's small systems, and the original that answers what the rungs ask.

Everything that differs between systems is a field or a method here, so that no rung depends on a
system's name. All inputs are prescribed: weights, batches, their order, and the noise.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
        noise: The random numbers of that batch, as `System.draw` returns them.
        saturated: Weights with which the loss saturates in float32, if it can.
        examples: The examples of the training that is compared step by step; by default those of
            the study.
        batch_size: Number of examples of its steps; by default the study's.
        epochs: Number of epochs of the training that is compared step by step.
        trajectory_bound: The largest difference after that training, relative to the movement of
            the weights, and its reason.
        gradient_dtypes: The dtypes in which gradients are compared; without "float32" where its
            rounding decides which path a gradient takes.
        long: Rungs that take so long that `make test` leaves them out.
    """

    port: System
    weights: Arrays
    batch: Arrays
    carry: np.ndarray | None = None
    noise: Any = ()
    saturated: Arrays | None = None
    examples: Arrays | None = None
    batch_size: int | None = None
    epochs: int
    trajectory_bound: tuple[float, str]
    gradient_dtypes: Collection[str] = ("float64", "float32")
    long: Collection[int] = ()

    @property
    def name(self) -> str:
        """The system's name, with its variant, by which a user selects it."""
        return self.port.label


class Step(NamedTuple):
    """A step of a training that is prescribed.

    Attributes:
        batch: The examples, with floating-point numbers in float64.
        noise: All random numbers of the step, as `System.draw` returns them, as NumPy arrays.
    """

    batch: Arrays
    noise: Any


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
    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """The loss of the batch, as "loss", and its gradient by each trained weight.

        Running statistics have their value after the batch instead of a gradient.
        """

    def batch_gradients(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """What `System.batch_gradients` returns; empty for most systems."""
        del weights, batch, dtype
        return {}

    @abc.abstractmethod
    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """The trained weights after an update for each of the given gradients, in float64."""

    @abc.abstractmethod
    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The weights after these steps, in float64.

        Also "loss": the loss of each epoch as the study printed it.
        """
