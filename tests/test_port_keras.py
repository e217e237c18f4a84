"""Keras models with depthwise, separable and transposed convolutions, ported to NNX."""

from typing import Any

import jax
import keras
import numpy as np
import pytest
from flax import nnx

import parity
from parity.port import transfer
from tests import port_upsampler as models


@pytest.fixture(scope="module")
def upsampler() -> keras.Model:
    return models.reference()


def test_a_correct_port_passes_every_rung(upsampler: keras.Model) -> None:
    report = parity.compare(models.Upsampler(nnx.Rngs(0)), upsampler, models.batch())
    assert report.passed, str(report)
    assert {v.status for v in report.verdicts} == {"PASS"}
    # Needed because Keras's zero biases would hide a bias that the port does not use.
    assert "evaluation, float64, perturbed weights" in {v.check.case for v in report.verdicts}
    words = {name: rule for name, _, rule in report.mapping.rows()}
    assert words["depthwise/kernel"] == "HW1(C·M) ← HWCM, a group for each channel"
    assert words["up/kernel"] == "as it is"


def test_a_transposed_convolution_in_the_other_layout_gets_a_flipped_kernel(
    upsampler: keras.Model,
) -> None:
    port = models.Upsampler(nnx.Rngs(0), transpose_kernel=False)
    report = parity.compare(port, upsampler, models.batch(), rungs=[1, 4, 5])
    assert report.passed, str(report)
    words = {name: rule for name, _, rule in report.mapping.rows()}
    assert words["up/kernel"] == "HWIO ← HWOI, space flipped"


def test_padding_on_the_wrong_side_is_found_in_its_layer(upsampler: keras.Model) -> None:
    port = models.Upsampler(nnx.Rngs(0), padding=(1, 1))
    report = parity.compare(port, upsampler, models.batch(), rungs=[1, 5])
    assert "evaluation, float64: output of down[" in report.first_fault


def test_transfer_returns_a_new_port_with_the_originals_weights(upsampler: keras.Model) -> None:
    port = models.Upsampler(nnx.Rngs(0))
    before = jax.tree.map(np.array, nnx.state(port, nnx.Param))
    ported = transfer(port, upsampler, models.batch())
    ported.eval()
    np.testing.assert_allclose(
        ported(models.batch()),
        upsampler(models.batch()),
        # Float32 on probabilities; measured 2e-7.
        atol=1e-5,
    )
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(port, nnx.Param))


@keras.saving.register_keras_serializable("tests")
class TwoHeads(keras.Model):
    """A subclassed model with two inputs, two outputs and a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(3, activation="relu")
        self.second = keras.layers.Dense(3)
        self.gain = self.add_weight(shape=(3,), initializer="ones", name="gain")

    def call(self, inputs: Any) -> Any:
        x, y = inputs
        return {"p": self.first(x) * self.gain + self.second(y), "q": self.second(x)}


class TwoHeadsPort(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(4, 3, rngs=rngs)
        self.second = nnx.Linear(4, 3, rngs=rngs)
        self.gain = nnx.Param(jax.numpy.ones(3))

    def __call__(self, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        p = nnx.relu(self.first(x)) * self.gain[...] + self.second(y)
        return {"p": p, "q": self.second(x)}


def test_subclassed_model_with_two_inputs_and_outputs() -> None:
    random = np.random.default_rng(0)
    batch = tuple(random.standard_normal((2, 4)).astype("float32") for _ in range(2))
    model = TwoHeads()
    model(batch)
    report = parity.compare(TwoHeadsPort(nnx.Rngs(0)), model, batch)
    assert report.passed, str(report)
    assert not any("float32:" in note for note in report.notes)


class NoConfiguration(TwoHeads):
    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("not written down")


def test_a_model_that_keras_cannot_copy_is_compared_in_float32() -> None:
    batch = tuple(np.ones((2, 4), "float32") * n for n in (1, 2))
    model = NoConfiguration()
    model(batch)
    report = parity.compare(TwoHeadsPort(nnx.Rngs(0)), model, batch)
    assert report.passed, str(report)
    assert "compared in float32: Keras cannot make the model again" in str(report)
    assert "float64" not in {v.check.case.split(", ")[-1] for v in report.verdicts}
