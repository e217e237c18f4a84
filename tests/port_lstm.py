"""An LSTM in Keras, and its ports to Linen and to a function."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from flax import linen


def reference() -> keras.Model:
    """Sequential."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 4)),
            keras.layers.LSTM(5, name="lstm", dropout=0.2),
            keras.layers.Dense(3, name="dense"),
        ]
    )


class LSTM(linen.Module):
    """One step of Keras's LSTM. `forget` is added to the forget gate, as some frameworks do."""

    hidden: int
    forget: float = 0.0

    @linen.compact
    def __call__(self, carry: Any, x: jax.Array) -> Any:
        h, c = carry
        gates = linen.Dense(4 * self.hidden, name="kernel")(x)
        gates += linen.Dense(4 * self.hidden, use_bias=False, name="recurrent")(h)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = linen.sigmoid(f + self.forget) * c + linen.sigmoid(i) * jnp.tanh(g)
        h = linen.sigmoid(o) * jnp.tanh(c)
        return (h, c), h


class Classifier(linen.Module):
    """The port."""

    forget: float = 0.0

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        cell = LSTM(5, self.forget, name="lstm")
        state = jnp.zeros((len(x), 5), x.dtype)
        carry = state, state
        for step in range(x.shape[1]):
            carry, h = cell(carry, x[:, step])
        return linen.Dense(3, name="dense")(h)


def linen_port(forget: float = 0.0) -> tuple[linen.Module, Any]:
    module = Classifier(forget)
    return module, module.init(jax.random.key(0), jnp.zeros((1, 6, 4)))


def function(params: Any, x: jax.Array) -> jax.Array:
    """The port as a function, with Keras's order of the gates."""
    return _function(params, x, (0, 1, 2, 3))


def function_with_gates_swapped(params: Any, x: jax.Array) -> jax.Array:
    """The same port with the forget gate and the cell's input swapped."""
    return _function(params, x, (0, 2, 1, 3))


def _function(params: Any, x: jax.Array, order: tuple[int, ...]) -> jax.Array:
    lstm, dense = params["lstm"], params["dense"]

    def step(carry: Any, x: jax.Array) -> Any:
        h, c = carry
        gates = x @ lstm["kernel"] + h @ lstm["recurrent_kernel"] + lstm["bias"]
        parts = jnp.split(gates, 4, axis=-1)
        i, f, g, o = (parts[place] for place in order)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    state = jnp.zeros((len(x), 5), x.dtype)
    (h, _), _ = jax.lax.scan(step, (state, state), jnp.swapaxes(x, 0, 1))
    return h @ dense["kernel"] + dense["bias"]


def params() -> Any:
    shapes = {
        "lstm": {"kernel": (4, 20), "recurrent_kernel": (5, 20), "bias": (20,)},
        "dense": {"kernel": (5, 3), "bias": (3,)},
    }
    return jax.tree.map(jnp.zeros, shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))


def batch() -> np.ndarray:
    """Sequences of features."""
    return np.random.default_rng(0).standard_normal((4, 6, 4)).astype("float32")
