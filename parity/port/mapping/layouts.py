"""Images and sequences between channels first, as PyTorch has them, and channels last, as Flax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Layout = Callable[[Any], Any]


def unchanged(arrays: Any) -> Any:
    """The arrays as they are."""
    return arrays


def channels_last(conv1d: bool) -> Layout:
    """From the reference's batch to the candidate's.

    Args:
        conv1d: Whether arrays with three axes are (batch, channels, length).
    """

    def one(array: Any) -> Any:
        image = array.ndim in (4, 5) or (conv1d and array.ndim == 3)
        return jnp.moveaxis(array, 1, -1) if image else array

    return lambda batch: jax.tree.map(one, batch)


def channels_first(shapes: Any) -> Layout:
    """From the candidate's outputs to the reference's.

    Args:
        shapes: The reference's outputs' shapes, in order.
    """

    def one(array: Any, shape: tuple[int, ...]) -> Any:
        if array.ndim < 3 or array.ndim != len(shape):
            return array
        moved = jnp.moveaxis(array, -1, 1)
        # An image's channels always move; a sequence's only if its shape says so.
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
    """An array with its channels at the end, for those with more than two axes."""
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array
