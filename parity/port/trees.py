"""Batches and outputs, which may be one array or a structure of them, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def named(prefix: str, tree: Any) -> dict[str, Any]:
    """The leaves of a structure; one array alone is named by the prefix."""
    if isinstance(tree, Mapping):
        tree = dict(tree)
    return {
        prefix + jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a model is called: a tuple or list holds several arguments, a mapping named ones."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        return tuple(batch), {}
    return (batch,), {}


def cast(batch: Any, dtype: str) -> Any:
    """The batch as numpy arrays, those of floating point at a precision."""

    def one(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return array.astype(dtype) if is_float(array) else array

    return jax.tree.map(one, batch)


def is_float(array: Any) -> bool:
    """Whether it is of floating point, bfloat16 included."""
    return bool(jax.numpy.issubdtype(array.dtype, jax.numpy.floating))


def map_floats(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to what is of floating point."""
    return jax.tree.map(lambda leaf: function(leaf) if is_float(leaf) else leaf, tree)
