"""What a port is asked, whether it is an NNX module, a Linen module or a function."""

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
    """A parameter or statistic of the candidate.

    Attributes:
        path: Such as `conv1.kernel`.
        shape: Its shape.
        trained: Whether it is a parameter, not a statistic.
    """

    path: str
    shape: tuple[int, ...]
    trained: bool

    @property
    def node(self) -> str:
        """Path of what holds it."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


class Candidate(abc.ABC):
    """A port, seen as a pure function of its leaves. Nothing here changes the user's object."""

    #: What the report calls it.
    kind: str

    @abc.abstractmethod
    def leaves(self) -> list[Leaf]:
        """All parameters and statistics of floating point."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Their values, by path."""

    @abc.abstractmethod
    def at(self, dtype: str) -> Self:
        """A copy whose layers compute at this precision, given weights and inputs of it."""

    @abc.abstractmethod
    def apply(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and statistics of a pass with these weights, without dropout."""

    @abc.abstractmethod
    def observe(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any], list[Call]]:
        """As `apply`, with the calls of its modules that are not within a transformation."""

    @abc.abstractmethod
    def with_weights(self, arrays: Weights) -> Any:
        """The user's object with these weights, in the dtypes that it has."""

    def module_kinds(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """What Flax layer stands at each path, as far as that is known."""
        del args, kwargs
        return {}

    def why_no_training(self) -> str:
        """Why it has no training mode, or an empty string if it has."""
        return ""


def mode_arguments(parameters: Sequence[str], train: bool) -> dict[str, bool]:
    """What a function that takes its mode as an argument is called with."""
    found = {name: train for name in ("train", "training", "is_training") if name in parameters}
    if "use_running_average" in parameters:
        found["use_running_average"] = not train
    if "deterministic" in parameters:
        # Where nothing else tells the mode, this does; dropout is off in either case.
        found["deterministic"] = True if found else not train
    return found


def arrays_of(tree: Any) -> tuple[Any, ...]:
    """The arrays of a structure, without keys of random numbers."""
    return tuple(
        leaf
        for leaf in jax.tree.leaves(tree)
        if hasattr(leaf, "shape") and not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def trace_level() -> Any:
    """What differs inside a scan or another transformation, whose arrays cannot be taken out."""
    return get_opaque_trace_state(convention="flax")


def same_dtypes(arrays: Weights, own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` where `arrays` has nothing, else the array in the dtype of `own`."""
    return {
        path: jax.numpy.asarray(np.asarray(arrays[path]).astype(value.dtype))
        if path in arrays
        else value
        for path, value in own.items()
    }
