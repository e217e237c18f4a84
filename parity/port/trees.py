"""Batches and outputs: one array or a structure of arrays, with names for the leaves."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def named_leaves(prefix: str, tree: Any) -> dict[str, Any]:
    """The leaves of a structure by name; a single array is named by the prefix alone."""
    if isinstance(tree, Mapping):
        tree = dict(tree)
    return {
        prefix + jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def call_arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A model's positional and keyword arguments: of a tuple or list, or of a mapping."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        return tuple(batch), {}
    return (batch,), {}


def cast(batch: Any, dtype: str) -> Any:
    """The batch as numpy arrays; floating-point arrays are cast to `dtype`."""

    def one(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return array.astype(dtype) if is_float(array) else array

    return jax.tree.map(one, batch)


def is_float(array: Any) -> bool:
    """Whether its dtype is floating-point, including bfloat16."""
    return bool(jax.numpy.issubdtype(array.dtype, jax.numpy.floating))


def map_floats(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to the floating-point leaves."""
    return jax.tree.map(lambda leaf: function(leaf) if is_float(leaf) else leaf, tree)
