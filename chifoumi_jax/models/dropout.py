"""Dropout that takes its mask as an input, so that runs can be repeated, resumed and compared."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


def draw_mask(key: Key[Array, ""], shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
    """Draws a mask whose elements are independently true (kept) with probability `1 - rate`."""
    return jax.random.bernoulli(key, 1.0 - rate, shape)


def dropout(
    activations: Float[Array, "..."], mask: Bool[Array, "..."], rate: float
) -> Float[Array, "..."]:
    """Zeroes dropped values and divides kept ones by `1 - rate`, as Keras and PyTorch do."""
    return jnp.where(mask, activations / (1.0 - rate), jnp.zeros_like(activations))
