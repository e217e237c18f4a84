"""Keras' RMSprop of 2018."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array


def keras_rmsprop(
    learning_rate: float = 1e-3, rho: float = 0.9, eps: float = 1e-7
) -> optax.GradientTransformation:
    """`a = rho * a + (1 - rho) * g**2`, then `p -= lr * g / (sqrt(a) + eps)`; a begins with 0.

    `optax.rmsprop` adds its epsilon below the root by default, as Keras 3 does.

    Source: Keras 2.2.4, `keras.optimizers.RMSprop`.
    """

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params

        def mean_square(a: Array, g: Array) -> Array:
            # Keras stores rho in the weights' precision.
            decay = jnp.asarray(rho, a.dtype)
            return decay * a + (1 - decay) * g * g

        state = jax.tree.map(mean_square, state, gradients)
        updates = jax.tree.map(
            lambda g, a: -learning_rate * g / (jnp.sqrt(a) + eps), gradients, state
        )
        return updates, state

    return optax.GradientTransformation(init, update)
