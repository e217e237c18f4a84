"""Converts images and sequences between PyTorch's channels first and Flax's channels last."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Layout = Callable[[Any], Any]


def unchanged(arrays: Any) -> Any:
    """The arrays, unchanged."""
    return arrays


def channels_last(conv1d: bool) -> Layout:
    """A function that converts the reference's batch to channels last.

    Args:
        conv1d: Whether arrays with three axes are (batch, channels, length).
    """

    def one(array: Any) -> Any:
        image = array.ndim in (4, 5) or (conv1d and array.ndim == 3)
        return jnp.moveaxis(array, 1, -1) if image else array

    return lambda batch: jax.tree.map(one, batch)


def channels_first(shapes: Any) -> Layout:
    """A function that converts the candidate's outputs to channels first.

    Args:
        shapes: The shapes of the reference's outputs, in order.
    """

    def one(array: Any, shape: tuple[int, ...]) -> Any:
        if array.ndim < 3 or array.ndim != len(shape):
            return array
        moved = jnp.moveaxis(array, -1, 1)
        # The channels of images always move; those of sequences only if the shapes require it.
        image = array.ndim in (4, 5)
        fits = moved.shape == shape
        return moved if fits and (image or array.shape != shape) else array

    def move(outputs: Any) -> Any:
        leaves, structure = jax.tree.flatten(outputs)
        if len(leaves) != len(shapes):
            return outputs
        moved = [one(a, s) for a, s in zip(leaves, shapes, strict=True)]
        return jax.tree.unflatten(structure, moved)

    return move


def last(array: np.ndarray) -> np.ndarray:
    """The array with axis 1, the channels, moved to the end, if it has more than two axes."""
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array
