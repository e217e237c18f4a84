"""The weights of a system's original: read by its names, checked, and written back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from chifoumi_jax.errors import UserError


class WeightsError(UserError, ValueError):
    """The weights are not those of this system."""


@dataclasses.dataclass(frozen=True)
class Weight:
    """A variable of a model, and how the original stores it.

    Attributes:
        variable: The model's variable.
        axes: The original's axes in the order of the model's; None if they are the same.
    """

    variable: nnx.Variable[Any]
    axes: tuple[int, ...] | None = None

    def read(self, name: str, value: np.ndarray) -> None:
        """Take the original's value, bit for bit.

        Raises:
            WeightsError: If it has another shape or is not of floating point.
        """
        shape = self.variable.get_value().shape
        axes = range(len(shape)) if self.axes is None else np.argsort(self.axes)
        expected = tuple(shape[axis] for axis in axes)
        if value.shape != expected or not np.issubdtype(value.dtype, np.floating):
            raise WeightsError(
                f"{name} is {value.dtype} {list(value.shape)}; expected float32 {list(expected)}"
            )
        turned = value if self.axes is None else value.transpose(self.axes)
        self.variable.set_value(jnp.asarray(turned))

    def write(self) -> np.ndarray:
        """The value in the original's layout."""
        value = np.asarray(self.variable.get_value())
        return value if self.axes is None else value.transpose(np.argsort(self.axes))


def load(original: Any, weights: Mapping[str, Weight]) -> None:
    """Copy the original's weights into a model; nothing is copied if one of them is wrong.

    Args:
        original: A mapping such as a state_dict, or a Keras model.
        weights: The model's weights by the original's names, in the original's order.

    Raises:
        WeightsError: If a name, a shape or a dtype is not the expected one.
    """
    found = _named(original, list(weights))
    before = {name: weight.variable.get_value() for name, weight in weights.items()}
    try:
        for name, weight in weights.items():
            weight.read(name, found[name])
    except WeightsError:
        for name, weight in weights.items():
            weight.variable.set_value(before[name])
        raise


def _named(original: Any, names: list[str]) -> dict[str, np.ndarray]:
    if isinstance(original, Mapping):
        found = {str(name): value for name, value in original.items()}
    elif callable(getattr(original, "get_weights", None)):
        values = original.get_weights()
        if len(values) != len(names):
            raise WeightsError(
                f"the Keras model has {len(values)} arrays of weights; expected {len(names)}: "
                f"{', '.join(names)}"
            )
        found = dict(zip(names, values, strict=True))
    else:
        raise WeightsError(
            f"weights come from a state_dict or a Keras model, not from a {type(original).__name__}"
        )
    if unknown := [name for name in found if name not in names]:
        raise WeightsError(f"the name {unknown[0]} is unknown; expected {', '.join(names)}")
    if missing := [name for name in names if name not in found]:
        raise WeightsError(f"{missing[0]} is missing; expected {', '.join(names)}")
    return {name: _as_array(found[name]) for name in names}


def _as_array(value: Any) -> np.ndarray:
    """A NumPy array of a value of any framework, without an import of it."""
    detach = getattr(value, "detach", None)
    return np.asarray(detach().cpu() if callable(detach) else value)


def linear_weights(model: nnx.Module, names: Iterable[str]) -> dict[str, Weight]:
    """The weights of linear layers as PyTorch's state_dict has them: outputs before inputs.

    Args:
        model: Has the layers as attributes.
        names: The attributes' names, in the original's order.
    """
    found: dict[str, Weight] = {}
    for name in names:
        layer = getattr(model, name)
        found |= {
            f"{name}.weight": Weight(layer.kernel, (1, 0)),
            f"{name}.bias": Weight(layer.bias),
        }
    return found


def conv_weights(model: nnx.Module, names: Iterable[str]) -> dict[str, Weight]:
    """The weights of convolutions as PyTorch's state_dict has them: outputs, inputs, rows, columns.

    Args:
        model: Has the layers as attributes.
        names: The attributes' names, in the original's order.
    """
    found: dict[str, Weight] = {}
    for name in names:
        layer = getattr(model, name)
        found |= {
            f"{name}.weight": Weight(layer.kernel, (2, 3, 1, 0)),
            f"{name}.bias": Weight(layer.bias),
        }
    return found
