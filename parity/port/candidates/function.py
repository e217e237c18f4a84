"""A function and its parameters as a candidate."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import numpy as np

from parity.port.candidates.base import Candidate, Leaf, Weights, mode_arguments, same_dtypes
from parity.port.layer import Call
from parity.port.trees import is_float

_STATISTICS = ("mean", "var", "running_mean", "running_var", "moving_mean", "moving_variance")


class FunctionCandidate(Candidate):
    """A function that is called as `function(params, *inputs)`.

    A function with a `train` parameter is called with it. With `train=True` it returns its outputs
    and the parameters with updated statistics.
    """

    kind = "function"

    def __init__(self, function: Callable[..., Any], params: Any) -> None:
        self._function, self._params = function, params
        self._parameters = list(inspect.signature(function).parameters)

    def leaves(self) -> list[Leaf]:
        """Parameters, and statistics, which are recognised by the usual names."""
        return [
            Leaf(path, tuple(value.shape), path.rpartition(".")[2] not in _STATISTICS)
            for path, value in self._named(self._params).items()
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """The values of the leaves, by path."""
        return {path: np.asarray(value) for path, value in self._named(self._params).items()}

    def at_precision(self, dtype: str) -> Self:
        """Itself, because a function computes in the precision of its inputs."""
        del dtype
        return self

    def apply(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and statistics of a forward pass with these weights."""
        modes = mode_arguments(self._parameters, train)
        params = self._merged(weights)
        found = self._function(params, *args, **kwargs, **modes)
        if train and modes and _has_params(found, params):
            found, params = found
        trained = {leaf.path: leaf.trained for leaf in self.leaves()}
        statistics = {k: v for k, v in self._named(params).items() if not trained[k]}
        return found, statistics

    def observe(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any], list[Call]]:
        """Like `apply`, without calls, because a function has no modules."""
        outputs, statistics = self.apply(weights, args, kwargs, train)
        return outputs, statistics, []

    def with_weights(self, arrays: Weights) -> tuple[Callable[..., Any], Any]:
        """The function, and new parameters in the dtypes of its own."""
        own = self._named(self._params)
        return self._function, self._merged(same_dtypes(arrays, own))

    def why_no_training(self) -> str:
        """A function without a parameter for the mode has only one mode."""
        if mode_arguments(self._parameters, True):
            return ""
        return "the function has no `train` parameter: add one to compare its training mode"

    def _named(self, params: Any) -> dict[str, Any]:
        return {
            path: leaf for path, leaf in _paths(params) if hasattr(leaf, "dtype") and is_float(leaf)
        }

    def _merged(self, weights: Weights) -> Any:
        structure = jax.tree.structure(self._params)
        leaves = [weights.get(path, leaf) for path, leaf in _paths(self._params)]
        return jax.tree.unflatten(structure, leaves)


def _has_params(found: Any, params: Any) -> bool:
    """Whether a function returned a pair of its outputs and its updated parameters."""
    if not isinstance(found, tuple) or len(found) != 2:
        return False
    return str(jax.tree.structure(found[1])) == str(jax.tree.structure(params))


def _paths(params: Any) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
