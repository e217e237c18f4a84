"""The common interface of ports: NNX modules, Linen modules and functions."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

from parity.port.layer import Call

Weights = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter or running statistic of the candidate.

    Attributes:
        path: Its path, such as `conv1.kernel`.
        shape: Its shape.
        trained: True for a parameter, False for a statistic.
    """

    path: str
    shape: tuple[int, ...]
    trained: bool

    @property
    def node(self) -> str:
        """Path of the module that holds it."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


class Candidate(abc.ABC):
    """A port as a pure function of its leaves. No method changes the user's object."""

    #: The kind of model, as text.
    kind: str

    @abc.abstractmethod
    def leaves(self) -> list[Leaf]:
        """All floating-point parameters and statistics."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The values of the leaves, by path."""

    @abc.abstractmethod
    def at_precision(self, dtype: str) -> Self:
        """A copy whose layers compute at this precision, given weights and inputs of that dtype."""

    @abc.abstractmethod
    def apply(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and statistics of a forward pass with these weights, without dropout."""

    @abc.abstractmethod
    def observe(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any], list[Call]]:
        """Like `apply`, and also the calls of its modules outside JAX transformations."""

    @abc.abstractmethod
    def with_weights(self, arrays: Weights) -> Any:
        """A copy of the user's object with these weights, in the dtypes of its own."""

    def module_kinds(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """The kind of the Flax layer at each path, as far as known."""
        del args, kwargs
        return {}

    def why_no_training(self) -> str:
        """Why it has no training mode, or an empty string if it has one."""
        return ""


def mode_arguments(parameters: Sequence[str], train: bool) -> dict[str, bool]:
    """The keyword arguments that select the mode, for a function with such parameters."""
    found = {name: train for name in ("train", "training", "is_training") if name in parameters}
    if "use_running_average" in parameters:
        found["use_running_average"] = not train
    if "deterministic" in parameters:
        # It selects the mode only if no other argument does; dropout is off in either case.
        found["deterministic"] = True if found else not train
    return found


def arrays_of(tree: Any) -> tuple[Any, ...]:
    """The arrays of a structure, without PRNG keys."""
    return tuple(
        leaf
        for leaf in jax.tree.leaves(tree)
        if hasattr(leaf, "shape") and not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def trace_level() -> Any:
    """A value that differs inside a scan or another transformation.

    Arrays cannot be taken out of such a transformation.
    """
    return get_opaque_trace_state(convention="flax")


def same_dtypes(arrays: Weights, own: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays in the dtypes of `own`; paths that `arrays` lacks keep the value of `own`."""
    return {
        path: jax.numpy.asarray(np.asarray(arrays[path]).astype(value.dtype))
        if path in arrays
        else value
        for path, value in own.items()
    }
