"""ReLU and 2 x 2 max pooling that stores only one byte per pooled value for the gradient.

The byte says which of a window's four values won. XLA's own gradient (select-and-scatter) instead
keeps the whole input and searches it again; it is among the slowest parts of a step on a CPU.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

CLOSED = 4
"""The winner of a window without positive values, where the ReLU passes no gradient."""


def relu_pool(
    values: Float[Array, "batch height width out"],
) -> tuple[
    Float[Array, "batch height//2 width//2 out"], UInt8[Array, "batch height//2 width//2 out"]
]:
    """Returns `max_pool(relu(values), 2)` and the winner of each window.

    The winner is `2 * row + column` of the first maximum in row-major order, or `CLOSED`. Both tie
    rules are those of Keras 2.2.4 on TensorFlow 1.12: the first maximum gets the whole gradient,
    and the ReLU passes no gradient at exactly zero. An odd last row or column is dropped.
    """
    height, width = values.shape[1] // 2 * 2, values.shape[2] // 2 * 2
    largest, *others = (
        values[:, row:height:2, column:width:2] for row in range(2) for column in range(2)
    )
    winner = jnp.zeros(largest.shape, jnp.uint8)
    for place, candidate in enumerate(others, start=1):
        winner = jnp.where(candidate > largest, jnp.uint8(place), winner)
        largest = jnp.maximum(largest, candidate)
    # Pooling first leaves a quarter of the values for the ReLU; the two commute exactly.
    winner = jnp.where(largest > 0, winner, jnp.uint8(CLOSED))
    return jnp.maximum(largest, 0), winner


def unpool_places(
    gradient: Float[Array, "batch rows columns out"], winner: UInt8[Array, "batch rows columns out"]
) -> list[Float[Array, "batch rows columns out"]]:
    """Returns the gradient of each of a window's four positions, in row-major order."""
    return [jnp.where(winner == place, gradient, 0) for place in range(4)]


def unpool(
    gradient: Float[Array, "batch rows columns out"], winner: UInt8[Array, "batch rows columns out"]
) -> Float[Array, "batch 2*rows 2*columns out"]:
    """Returns the gradient with respect to the values before ReLU and pooling."""
    batch, rows, columns, out = gradient.shape
    places = jnp.stack(unpool_places(gradient, winner), axis=3)
    places = places.reshape(batch, rows, columns, 2, 2, out).transpose(0, 1, 3, 2, 4, 5)
    return places.reshape(batch, 2 * rows, 2 * columns, out)


def bias_gradient(
    gradient: Float[Array, "batch rows columns out"], winner: UInt8[Array, "batch rows columns out"]
) -> Float[Array, " out"]:
    """Returns the gradient with respect to the bias, which is part of every value."""
    return jnp.where(winner == CLOSED, 0, gradient).sum((0, 1, 2))
