import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chifoumi_jax import losses


def test_categorical_crossentropy_renormalises() -> None:
    got = losses.categorical_crossentropy(jnp.array([[1.0, 2.0, 1.0]]), jnp.array([1]))
    np.testing.assert_allclose(got, [math.log(2)], rtol=1e-6)


def test_the_loss_of_a_wrong_prediction_is_capped_and_has_no_gradient() -> None:
    logits = jnp.array([[40.0, 0.0, 0.0]])
    labels = jnp.array([1])

    def loss(x: jax.Array) -> jax.Array:
        return losses.softmax_categorical_crossentropy(x, labels)[0]

    value, gradient = jax.value_and_grad(loss)(logits)
    assert float(value) == pytest.approx(-math.log(1e-7), rel=1e-6)
    assert not np.any(gradient)
    value, gradient = jax.value_and_grad(lambda x: losses.cross_entropy(x, labels)[0])(logits)
    assert float(value) == pytest.approx(40, rel=1e-6)
    np.testing.assert_allclose(gradient, [[1.0, -1.0, 0.0]], atol=1e-6)


def test_the_loss_of_a_correct_prediction_is_capped_too() -> None:
    value = losses.softmax_categorical_crossentropy(jnp.array([[40.0, 0.0]]), jnp.array([0]))
    # 1 - 1e-7 in float32 is 1 - 2**-23.
    np.testing.assert_allclose(value, [-math.log(1 - 2**-23)], rtol=1e-3)


@pytest.mark.parametrize("bound", [1e-7, 1 - 1e-7])
def test_the_gradient_passes_unchanged_at_the_clip(bound: float) -> None:
    with jax.enable_x64(True):
        at = jnp.asarray(bound)
        low = jnp.asarray(1e-7)
        gradient = jax.grad(lambda x: losses._clip(x, low, 1 - low))(at)
    assert float(gradient) == 1.0


def test_between_the_clips_all_losses_agree() -> None:
    logits = jax.random.normal(jax.random.key(0), (50, 3))
    labels = jnp.arange(50) % 3
    expected = losses.cross_entropy(logits, labels)
    # float32 on values up to 5.
    np.testing.assert_allclose(
        losses.softmax_categorical_crossentropy(logits, labels), expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        losses.smoothed_cross_entropy(0.0)(logits, labels), expected, rtol=1e-5
    )
    # The study's version 3: cross_entropy of log_softmax is cross_entropy.
    np.testing.assert_allclose(
        losses.cross_entropy(jax.nn.log_softmax(logits), labels), expected, rtol=1e-5
    )


def test_softmax_twice_is_bounded() -> None:
    values = losses.cross_entropy_of_softmax(
        jnp.array([[9e3, 0.0, 0.0], [0.0, 9e3, 0.0]]), jnp.array([0, 0])
    )
    # Probabilities 1 and 0 are used as logits, so losses are from log(1 + 2/e) to log(2 + e).
    np.testing.assert_allclose(values, [math.log(1 + 2 / math.e), math.log(2 + math.e)], rtol=1e-6)


def test_label_smoothing_spreads_labels_over_all_classes() -> None:
    got = losses.smoothed_cross_entropy(0.3)(jnp.zeros((1, 3)), jnp.array([0]))
    np.testing.assert_allclose(got, [math.log(3)], rtol=1e-6)
    logits = jnp.array([[1.0, 0.0, 0.0]])
    log_p = np.asarray(jax.nn.log_softmax(logits))[0]
    got = losses.smoothed_cross_entropy(0.3)(logits, jnp.array([0]))
    np.testing.assert_allclose(
        got, [-(0.8 * log_p[0] + 0.1 * log_p[1] + 0.1 * log_p[2])], rtol=1e-6
    )


def test_class_weights_apply_to_smoothed_labels_too() -> None:
    logits, labels = jnp.array([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]), jnp.array([0, 2])
    plain = losses.smoothed_cross_entropy(0.1)
    # Both tolerances are for float32 rounding in a sum of three.
    found = losses.weighted(plain, np.array([0.5, 1.0, 3.0]))(logits, labels)
    np.testing.assert_allclose(found, plain(logits, labels) * jnp.array([0.5, 3.0]), rtol=1e-6)
    targets = np.array([[0.9, 0, 0], [0, 0, 0.9]]) + 0.1 / 3
    log_shares = np.asarray(jax.nn.log_softmax(logits))
    np.testing.assert_allclose(found, -(targets * log_shares).sum(1) * [0.5, 3.0], rtol=1e-6)
