"""The originals' optimisers as Optax transformations, named after what they reproduce."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int32


class KerasAdamState(NamedTuple):
    """Steps taken so far, and the running means of the gradients and of their squares."""

    steps: Int32[Array, ""]
    mu: optax.Updates
    nu: optax.Updates


def keras_adam(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-7,
) -> optax.GradientTransformation:
    """Adam in the paper's "epsilon hat" form: `p -= lr_t * m / (sqrt(v) + eps)`.

    Here `lr_t = lr * sqrt(1 - b2**t) / (1 - b1**t)`. `optax.adam(eps=1e-7)` is a different
    optimiser, because it adds its epsilon to the *corrected* `sqrt(v)`. The equivalent epsilon
    would change with each step: `eps / sqrt(1 - b2**t)`.

    A schedule is called with the index of the step that is about to be taken, from 0.

    Source: Keras 2.2.4, `keras.optimizers.Adam`; Kingma and Ba, 2015, end of section 2.
    """

    def init(params: optax.Params) -> KerasAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return KerasAdamState(jnp.zeros([], jnp.int32), zeros, jax.tree.map(jnp.copy, zeros))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, KerasAdamState]:
        del params
        assert isinstance(state, KerasAdamState)
        base = learning_rate(state.steps) if callable(learning_rate) else learning_rate
        steps = state.steps + 1
        mu = jax.tree.map(lambda m, g: _mean(m, g, b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: _mean(v, g * g, b2), state.nu, updates)

        def step(m: Array, v: Array) -> Array:
            t = steps.astype(m.dtype)
            beta1, beta2 = jnp.asarray(b1, m.dtype), jnp.asarray(b2, m.dtype)
            rate = base * jnp.sqrt(1 - beta2**t) / (1 - beta1**t)
            return -rate * m / (jnp.sqrt(v) + eps)

        return jax.tree.map(step, mu, nu), KerasAdamState(steps, mu, nu)

    return optax.GradientTransformation(init, update)


def _mean(mean: Array, value: Array, beta: float) -> Array:
    # Keras 2.2.4 stores beta in the weights' precision; in float32, 1 - 0.999 is 0.00100004673.
    decay = jnp.asarray(beta, mean.dtype)
    return decay * mean + (1 - decay) * value


def scale_by_width(limit: int) -> optax.GradientTransformation:
    """Multiplies the updates of a kernel with more than `limit` inputs by `limit / inputs`.

    A kernel is an array of two or more dimensions; its inputs are all dimensions except the last.
    Adam's step has the same size for every weight, so a unit's sum moves in proportion to the
    number of its inputs.

    Source: G. Yang et al., 2022 ("Tensor Programs V"): Adam's rate falls with 1 / fan-in.
    """

    def scale(update: Array) -> Array:
        inputs = math.prod(update.shape[:-1]) if update.ndim > 1 else 1
        return update * min(1.0, limit / inputs)

    return optax.stateless(lambda updates, params: jax.tree.map(scale, updates))


def torch_sgd(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """PyTorch's SGD: `buf = momentum * buf + g` (first `buf = g`), then `p -= lr * buf`.

    Keras' SGD instead includes the learning rate in the velocity. The two differ once the learning
    rate changes.

    Source: PyTorch 1.0.0, `torch.optim.SGD`, with neither dampening nor Nesterov.
    """
    return optax.sgd(learning_rate, momentum=momentum)
