"""PyTorch's layers and losses of 2018, where today's or Flax's differ."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

# Added to probabilities by PyTorch 1.0.0 where it divides by them, and the least that it takes a
# logarithm of.
_EPSILON = 1e-12


def uniform(bound: float) -> nnx.Initializer:
    """Draws uniformly from ±`bound`."""

    def draw(key: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def torch_linear(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer with PyTorch's initial distribution: ±1/√inputs for weights and biases."""
    draw = uniform(1 / math.sqrt(inputs))
    return nnx.Linear(inputs, outputs, kernel_init=draw, bias_init=draw, rngs=rngs)


@jax.custom_jvp
def torch_binary_cross_entropy(
    probabilities: Float[Array, "*any"], targets: Float[Array, "*any"]
) -> Float[Array, "*any"]:
    """PyTorch 1.0.0's cross-entropy of each probability; targets are constants, in [0, 1].

    The logarithm of exactly 0 counts as that of 1e-12, and the gradient divides by
    `(1 - p + 1e-12) * (p + 1e-12)`. Today's PyTorch clamps logarithms at -100 instead. The two
    differ only where a sigmoid has reached 0 or 1.

    Source: PyTorch 1.0.0, `BCECriterion.c`.
    """
    return -(targets * _log(probabilities) + (1 - targets) * _log(1 - probabilities))


def _log(value: Array) -> Array:
    zero = value == 0
    return jnp.where(zero, math.log(_EPSILON), jnp.log(jnp.where(zero, 1, value)))


@torch_binary_cross_entropy.defjvp
def _cross_entropy_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    p, targets = primals
    # Without the barrier XLA adds the two constants first: 1 + 1e-12 is 1 in float32, so that the
    # divisor at p = 1 is 0 and the gradient is not a number.
    rest = jax.lax.optimization_barrier(1 - p)
    slope = (p - targets) / ((rest + _EPSILON) * (p + _EPSILON))
    return torch_binary_cross_entropy(p, targets), slope * tangents[0]
