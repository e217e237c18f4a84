import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chifoumi_jax.optim import keras_adam, scale_by_width, torch_sgd

# Gradients over eleven orders of magnitude, which reveal an epsilon in the wrong place.
GRADIENTS = np.outer(np.random.default_rng(0).normal(size=20), np.logspace(-10, 1, 12))


def run(optimizer: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    params = jnp.ones(gradients.shape[1], gradients.dtype)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
    return np.asarray(params)


def keras_adam_reference(gradients: np.ndarray, rate: float = 1e-3) -> np.ndarray:
    """Keras 2.2.4's formula, line by line."""
    p, m, v = np.ones(gradients.shape[1]), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        rate_t = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        p = p - rate_t * m / (np.sqrt(v) + 1e-7)
    return p


def test_keras_adam_in_float64() -> None:
    with jax.enable_x64(True):
        got = run(keras_adam(1e-3), GRADIENTS)
    # Rounding of float64 over 20 steps of parameters near 1.
    np.testing.assert_allclose(got, keras_adam_reference(GRADIENTS), rtol=1e-14)


def test_keras_adam_in_float32() -> None:
    got = run(keras_adam(1e-3), GRADIENTS.astype(np.float32))
    # Each of 20 steps rounds a parameter near 1 by up to 6e-8 and moves it by up to 1e-3, itself
    # rounded in its sixth digit.
    np.testing.assert_allclose(got, keras_adam_reference(GRADIENTS), atol=20 * 6e-8 + 20e-3 * 1e-5)


def test_optax_adam_differs_from_keras_adam() -> None:
    with jax.enable_x64(True):
        other = run(optax.adam(1e-3, eps=1e-7), GRADIENTS)
    # More than half the size of a step.
    assert np.abs(other - keras_adam_reference(GRADIENTS)).max() > 5e-4


def test_keras_adam_calls_the_schedule_with_the_current_step() -> None:
    rates = [1e-3, 5e-3]
    optimizer = keras_adam(lambda step: jnp.asarray(rates)[step])
    params = jnp.zeros(1)
    state = optimizer.init(params)
    first, state = optimizer.update(jnp.ones(1), state)
    second, _ = optimizer.update(jnp.ones(1), state)
    # With a constant gradient, each step has the size of its learning rate, except for epsilon.
    np.testing.assert_allclose([first[0], second[0]], [-1e-3, -5e-3], rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_torch_sgd(momentum: float) -> None:
    with jax.enable_x64(True):
        got = run(torch_sgd(0.01, momentum), GRADIENTS)
    p, buffer = np.ones(GRADIENTS.shape[1]), np.zeros(GRADIENTS.shape[1])
    for g in GRADIENTS:
        buffer = momentum * buffer + g
        p = p - 0.01 * buffer
    np.testing.assert_allclose(got, p, rtol=1e-14)


def test_updates_of_wide_kernels_are_scaled_down() -> None:
    updates = {"wide": jnp.ones((4, 5, 2)), "narrow": jnp.ones((10, 2)), "bias": jnp.ones(30)}
    scale = scale_by_width(10)
    got, _ = scale.update(updates, scale.init(updates))
    np.testing.assert_array_equal(got["wide"], 0.5)
    np.testing.assert_array_equal(got["narrow"], 1)
    np.testing.assert_array_equal(got["bias"], 1)
