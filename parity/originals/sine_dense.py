"""The dense fit of a sine in today's Keras and TensorFlow, as an original to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from parity.system_case import Arrays, Step, SystemCase, SystemOriginal
from reference import sine_dense


class SineDenseOriginal(SystemOriginal):
    """`reference.sine_dense` with prescribed weights."""

    def __init__(self, case: SystemCase) -> None:
        self.case = case
        self.name = f"Keras {keras.__version__}"

    def initial(self, seed: int) -> Arrays:
        """The weights that Keras draws."""
        keras.utils.set_random_seed(seed)
        return dict(zip(self.case.weights, sine_dense.build().get_weights(), strict=True))

    def live(self, weights: Arrays) -> object:
        """A Keras model."""
        return _model(weights, "float32")

    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """Every layer's output."""
        x = tf.constant(batch["x"].astype(dtype))
        found = []
        for layer in _model(weights, dtype).layers:
            x = layer(x)
            found.append(np.asarray(x))
        return dict(zip(("dense_1", "dense_2", "output"), found, strict=True))

    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """Mean squared error and gradients."""
        del noise
        model = _model(weights, dtype)
        with tf.GradientTape() as tape:
            error = model(tf.constant(batch["x"].astype(dtype))) - batch["y"].astype(dtype)
            loss = tf.reduce_mean(tf.square(error))
        gradients = tape.gradient(loss, [one.value for one in model.trainable_variables])
        return {"loss": np.asarray(loss), **_named(self.case, gradients)}

    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """Keras' SGD, with its default learning rate in full precision."""
        variables = [tf.Variable(value) for value in weights.values()]
        optimizer = sine_dense.StudySGD()
        optimizer.build(variables)
        for one in gradients:
            optimizer.apply([tf.constant(one[name]) for name in weights], variables)
        return _named(self.case, variables)

    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The study's training in float64, point by point."""
        model = _model(weights, "float64")
        epoch = sine_dense.make_epoch(model)
        losses = []
        for steps in map(list, epochs):
            x, y = (np.concatenate([step.batch[name] for step in steps]) for name in ("x", "y"))
            losses.append(float(epoch(tf.constant(x), tf.constant(y))))
        return {"loss": np.array(losses), **_named(self.case, model.trainable_variables)}


def _model(weights: Arrays, dtype: str) -> Any:
    model = sine_dense.build(dtype)
    model.set_weights([value.astype(dtype) for value in weights.values()])
    return model


def _named(case: SystemCase, values: Sequence[Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(keras.ops.convert_to_numpy(value))
        for name, value in zip(case.weights, values, strict=True)
    }
