"""Dropout whose mask is an input, so that a run can be repeated, resumed and compared."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


def draw_mask(key: Key[Array, ""], shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
    """A mask that is true (kept) with probability `1 - rate`, independently in each place."""
    return jax.random.bernoulli(key, 1.0 - rate, shape)


def dropout(
    activations: Float[Array, "..."], mask: Bool[Array, "..."], rate: float
) -> Float[Array, "..."]:
    """Zero what the mask drops and divide what it keeps by `1 - rate`, as Keras and PyTorch do."""
    return jnp.where(mask, activations / (1.0 - rate), jnp.zeros_like(activations))
