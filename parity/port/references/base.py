"""What an original is asked, whether it is a Keras model or a PyTorch module."""

import abc
from collections.abc import Sequence
from typing import Any

from parity.port.layer import Arrays, Call, Layer, Objective, Run
from parity.slope import Slope


class Reference(abc.ABC):
    """An original. All that it computes, it computes on a copy.

    Attributes:
        framework: "torch" or "keras".
        layers: What holds parameters, in the order in which it runs.
        sequence_channels_first: Whether a batch with three axes has its channels in the middle.
        why_not_float64: Why it computes in float32 only, or an empty string.
    """

    framework: str
    layers: list[Layer]
    sequence_channels_first: bool = False
    why_not_float64: str = ""

    @abc.abstractmethod
    def arrays(self) -> Arrays:
        """All parameters and statistics, by name, in the model's own precision."""

    @abc.abstractmethod
    def run(self, weights: Arrays, batch: Any, dtype: str, train: bool) -> Run:
        """A pass with these weights, without dropout."""

    @abc.abstractmethod
    def slope(
        self, weights: Arrays, batch: Any, dtype: str, train: bool, objective: Objective
    ) -> Slope:
        """The objective of the outputs, and its gradients."""

    @property
    def has_statistics(self) -> bool:
        """Whether it has running statistics, so that training is another function."""
        return any(layer.kind == "BatchNorm" for layer in self.layers)


def in_order(layers: Sequence[Layer], calls: Sequence[Call]) -> list[Layer]:
    """The layers as they were called first; one whose calls are not seen before the next one."""
    order = list(dict.fromkeys(call.place for call in calls))
    keys: dict[str, float] = {}
    following = float(len(order))
    for layer in reversed(layers):
        following = order.index(layer.name) if layer.name in order else following - 1e-3
        keys[layer.name] = following
    return sorted(layers, key=lambda layer: keys[layer.name])
