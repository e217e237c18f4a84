"""The GAN: Keras' formulas of 2018, its recording, the shared Adam, and the scores of samples."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from chifoumi_jax import systems
from chifoumi_jax.systems import datasets, digit_classifier, gan
from chifoumi_jax.systems.keras_layers import dropout, keras_binary_cross_entropy, leaky_relu
from chifoumi_jax.systems.shared_adam import shared_adam
from chifoumi_jax.systems.system import State
from reference import gan as original
from reference.legacy import systems_golden, systems_inputs

SYSTEM = systems.get("gan")
RECORDING = systems_golden.load("gan")
RECORDED_BATCH = 16
DTYPES = ("float32", "float64")


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (200, 24))


def recorded_weights() -> dict[str, np.ndarray]:
    return {
        f"{network}/{name}": value
        for network in ("generator", "discriminator")
        for name, value in systems_inputs.weights(f"gan/{network}").items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cross_entropy_is_that_of_keras_2_2_4(dtype: str) -> None:
    import tensorflow as tf

    p, targets = systems_inputs.saturated(
        systems_inputs.KERAS_PROBABILITIES, systems_inputs.KERAS_TARGETS
    )
    with jax.enable_x64(dtype == "float64"):
        given, labels = jnp.asarray(p, dtype), jnp.asarray(targets, dtype)
        value, back = jax.vjp(lambda p: keras_binary_cross_entropy(p, labels), given)
        (gradient,) = back(jnp.ones_like(given))
    theirs = tf.constant(p, dtype)
    with tf.GradientTape() as tape:
        tape.watch(theirs)
        their_value = original.binary_cross_entropy(tf.constant(targets, dtype), theirs)
    # The logit has up to 16.1, so that its rounding is 3.6e-15 in float64 and changes its
    # exponential as much; measured 3.6e-15. JAX's plain derivative is a third off.
    rtol = {"float32": 1e-6, "float64": 1e-14}[dtype]
    for found in (value, their_value):
        np.testing.assert_allclose(found, RECORDING[f"{dtype}/saturated/value"], rtol=rtol)
    for found in (gradient, tape.gradient(their_value, theirs)):
        np.testing.assert_allclose(found, RECORDING[f"{dtype}/saturated/gradient"], rtol=rtol)


def test_leaky_relu_has_keras_gradient_at_zero() -> None:
    gradient = jax.vmap(jax.grad(leaky_relu))(jnp.array([-1.0, -0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(gradient, RECORDING["float32/leaky/gradient"][0])


def test_dropout_scales_what_it_keeps() -> None:
    x, kept = jnp.array([[1.0, 2.0]]), jnp.array([[True, False]])
    np.testing.assert_allclose(dropout(x, kept, 0.3), [[1 / 0.7, 0]], rtol=1e-7)
    assert dropout(x, None, 0.3) is x


def test_networks_take_turns_in_counting_the_steps() -> None:
    names = ("discriminator", "generator")
    adam = shared_adam(2e-4, 0.5, names)
    params = {name: jnp.zeros(1) for name in names}
    state, moved = adam.init(params), []
    for name in names:
        updates, state = adam.update({name: jnp.ones(1)}, state)
        moved.append(-float(optax.tree.get(updates, name)[0]) / 2e-4)
    # The generator's first step is Adam's second: sqrt(1 - 0.999**2) / (1 - 0.5**2) * 0.5 / ...
    second = np.sqrt(1 - 0.999**2) / (1 - 0.25) * 0.5 / np.sqrt(0.001)
    np.testing.assert_allclose(moved, [1, second], rtol=1e-4)
    assert round(second, 4) == 0.9426
    both, _ = adam.update({name: jnp.ones(1) for name in names}, adam.init(params))
    found = [-float(optax.tree.get(both, name)[0]) / 2e-4 for name in names]
    np.testing.assert_allclose(found, moved, rtol=1e-6)


def codes_and_images(step: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = systems_inputs.signed(systems_inputs.pictures(f"gan {step}", RECORDED_BATCH))
    shape = (RECORDED_BATCH, 100)
    first, second = (systems_inputs.normals(f"gan {name} {step}", shape) for name in "DG")
    return images.astype(dtype), first.astype(dtype), second.astype(dtype)


def test_two_steps_of_both_networks_are_those_of_keras_2_2_4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The recorded steps are without dropout.
    monkeypatch.setattr(gan, "DROPOUT", 0.0)
    losses = []
    with jax.enable_x64(True):
        model = SYSTEM.build(rngs=nnx.Rngs(0))
        SYSTEM.load_original(model, {n: v.astype("float64") for n, v in recorded_weights().items()})
        graph, state = SYSTEM.state(model)

        def step(state: State, images: Any, codes: Any, more: Any) -> Any:
            masks: list[Any] = [
                tuple(jnp.ones((count, units), bool) for units in (1024, 512, 256))
                for count in (2 * RECORDED_BATCH, RECORDED_BATCH)
            ]
            noise = gan.Noise(codes, masks[0], more, masks[1])
            return SYSTEM.step(graph, state, {"images": images}, noise)

        compiled = jax.jit(step)
        for number in range(2):
            state, loss = compiled(state, *map(jnp.asarray, codes_and_images(number, "float64")))
            losses.append(float(loss))
        counters = [int(one.steps) for one in state.opt_state.values()]
        ours = SYSTEM.to_original(nnx.merge(graph, state.params, state.statistics))
    np.testing.assert_allclose(losses, RECORDING["float64/steps/loss"][::2], rtol=1e-12)
    assert counters == [RECORDING["float64/steps/counter"][-1]] * 2
    for name, value in ours.items():
        recorded = RECORDING[f"float64/steps/weights/{name}"][-1]
        digest = systems_inputs.digest(name.partition("/")[2], value)
        # The weights moved by 4e-4 at most.
        np.testing.assert_allclose(digest, recorded, rtol=0, atol=1e-13, err_msg=name)


def test_an_epoch_draws_images_with_replacement() -> None:
    order = next(SYSTEM.orders(60_000, 10))
    assert order.shape == (468 * 128,)
    np.testing.assert_array_equal(
        order[:9], np.random.RandomState(10).randint(0, 60_000, 468 * 128)[:9]
    )
    # With replacement a share of 1/e of the images is not drawn.
    assert 0.62 < len(np.unique(order)) / 60_000 < 0.64
    assert next(SYSTEM.orders(50, 0)).max() < 50


def test_a_run_draws_its_samples_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    run = SYSTEM.fit(epochs=2, runs=tmp_path, quiet=True)
    pictures = {path.name for path in run.directory.glob("*.png")}
    assert pictures == {
        *("samples-001.png", "samples.png", "loss.png", "confidence.png"),
        *("frechet.png", "digits.png"),
    }
    scores = [run.history[-1][name] for name in ("confidence", "rarest_digit", "frechet")]
    assert [figure.ours for figure in run.figures] == scores
    written = json.loads((run.directory / "samples.json").read_text())
    assert written["count"] == 24
    for part in ("samples", "held_out"):
        assert sum(written[part]["shares"]) == pytest.approx(1)
    assert written["held_out"]["frechet"] < written["samples"]["frechet"]
    assert run.history[-1]["frechet"] == pytest.approx(written["samples"]["frechet"], rel=1e-4)
    # Two steps, because 200 images fill one batch; a resumed run must count the same.
    assert sorted(path.name for path in (run.directory / "checkpoints").iterdir())[-1] == "00000002"
    shutil.rmtree(run.directory / "checkpoints")


def test_the_original_trains_on_what_it_is_given(tmp_path: Path) -> None:
    weights = SYSTEM.to_original(SYSTEM.build(rngs=nnx.Rngs(5)))
    data, given = SYSTEM.data(), tmp_path / "given.npz"
    orders = np.stack([order for order, _ in zip(SYSTEM.orders(200, 3), range(2), strict=False)])
    np.savez(
        given,
        orders=orders,
        **{f"weights/{name}": value for name, value in weights.items()},
        **{"data/train/images": data.train["images"]},
    )
    history = tmp_path / "history.json"
    original.main(["--given", str(given), "--history", str(history)])
    theirs = json.loads(history.read_text())
    ours = SYSTEM.fit(epochs=2, seed=3, initial=weights, runs=tmp_path, quiet=True).history
    # Codes and masks are each framework's own, so that the losses are only alike: about log 2
    # before the first update, and measured 0.66 to 0.67 in the second.
    np.testing.assert_allclose(
        [row["loss"] for row in ours], [row["loss"] for row in theirs], rtol=0.1
    )


def test_the_frechet_distance_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    first = np.array([1.0, 0.0]), np.diag([4.0, 1.0])
    second = np.array([0.0, 2.0]), np.diag([9.0, 0.0])
    # |m1 - m2|^2 + (2 - 3)^2 + (1 - 0)^2.
    assert digit_classifier.frechet(first, second) == pytest.approx(5 + 1 + 1)
    turned = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    pair = [(turned @ mean, turned @ covariance @ turned.T) for mean, covariance in (first, second)]
    assert digit_classifier.frechet(*pair) == pytest.approx(7)
    assert digit_classifier.frechet(first, first) == pytest.approx(0, abs=1e-12)


def test_a_classifier_learns_drawn_digits_and_is_the_same_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (2_000, 200))
    data = SYSTEM.data()
    scores = digit_classifier.SampleScores(data)
    # Measured 0.70 after 120 steps; 60,000 digits give 3,744.
    assert scores.accuracy > 0.6
    assert scores.held_out.confidence > 0.3
    assert max(scores.held_out.shares) < 0.2
    # Noise is no digit.
    noise = np.random.default_rng(0).uniform(-1, 1, (200, 28, 28)).astype(np.float32)
    assert scores.of(jnp.asarray(noise)).frechet > 3 * scores.held_out.frechet
    again = digit_classifier.train(data.train["images"], data.train["labels"])
    np.testing.assert_array_equal(again.last.kernel[...], scores._classifier.last.kernel[...])
