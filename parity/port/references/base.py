"""The common interface of originals: Keras models and PyTorch modules."""

import abc
from collections.abc import Sequence
from typing import Any

from parity.port.layer import Arrays, Call, Layer, Objective, Run
from parity.value_and_grad import ValueAndGrad


class Reference(abc.ABC):
    """An original. The user's model is never changed.

    Attributes:
        framework: "torch" or "keras".
        layers: The layers that hold parameters, in the order in which they run.
        sequence_channels_first: Whether a batch with three axes has its channels at axis 1.
        why_not_float64: Why it computes in float32 only, or an empty string.
    """

    framework: str
    layers: list[Layer]
    sequence_channels_first: bool = False
    why_not_float64: str = ""

    @abc.abstractmethod
    def arrays(self) -> Arrays:
        """All parameters and running statistics, by name, in the model's own precision."""

    @abc.abstractmethod
    def run(self, weights: Arrays, batch: Any, dtype: str, train: bool) -> Run:
        """A forward pass with these weights, without dropout."""

    @abc.abstractmethod
    def value_and_grad(
        self, weights: Arrays, batch: Any, dtype: str, train: bool, objective: Objective
    ) -> ValueAndGrad:
        """The objective of the outputs, and its gradients."""

    @property
    def has_statistics(self) -> bool:
        """Whether it has running statistics, so that it computes differently in training mode."""
        return any(layer.kind == "BatchNorm" for layer in self.layers)


def in_order(layers: Sequence[Layer], calls: Sequence[Call]) -> list[Layer]:
    """The layers in the order of their first calls.

    A layer without recorded calls comes just before the next layer of `layers`.
    """
    order = list(dict.fromkeys(call.place for call in calls))
    keys: dict[str, float] = {}
    following = float(len(order))
    for layer in reversed(layers):
        following = order.index(layer.name) if layer.name in order else following - 1e-3
        keys[layer.name] = following
    return sorted(layers, key=lambda layer: keys[layer.name])
